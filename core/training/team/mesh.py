"""Sharding and replication of a run's networks over ranks, and reading them unsharded.

Flow: the loop calls ``shard_parts`` before it builds the optimiser, and enters ``unsharded_parts`` to use the networks
outside a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.teacher.teacher import Teacher
from core.training.step.student_step import StudentStep
from core.training.team.team import Team


def shard_parts(student: StudentStep, teacher: Teacher | None, team: Team, shard: int) -> None:
    """Shard or replicate the ``student``'s step over ``team``'s ranks; if weights are sharded, also a moving teacher.

    A frozen teacher, and a teacher that shares the student's towers, is replicated on every rank.
    """
    if team.size == 1:
        return
    from core.ranks.sharding import mesh_of, shard_module  # noqa: PLC0415  (needless in one process)

    network, precision = student.network, student.runtime.precision
    team.broadcast_weights(network, teacher.network if teacher is not None and teacher.moves else None)
    mesh = mesh_of(team.size, shard, network.towers.pixel_mean.device)
    team.sharded = shard > 1
    shard_module(student, network.blocks(), mesh, precision)
    if shard > 1 and teacher is not None and teacher.moves and teacher.network.towers is not network.towers:
        shard_module(teacher.network, teacher.network.blocks(), mesh, precision)


@contextmanager
def unsharded_parts(student: StudentStep, teacher: Teacher | None, with_blocks: bool) -> Iterator[None]:
    """Context in which student and teacher are unsharded; their transformer blocks only if ``with_blocks``.

    Blocks that stay sharded are gathered when they are called. Caption decoding with a cache calls parts of blocks, so
    it needs the blocks unsharded.
    """
    from core.ranks.sharding import unsharded  # noqa: PLC0415  (needless in one process)

    follower = teacher.network if teacher is not None and teacher.moves else None
    networks = [student.network, *([follower] if follower is not None else [])]
    blocks_called = [] if with_blocks else [block for network in networks for block in network.blocks()]
    with unsharded(student, follower, only_called=blocks_called):
        yield
