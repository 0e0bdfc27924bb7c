"""Sharding and replication of a run's networks over ranks, and reading them unsharded.

Flow: the loop calls ``shard_parts`` before it builds the optimiser, and reads the networks apart from a step within
``unsharded_parts``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.teacher.teacher import Teacher
from core.training.step.student_step import StudentStep
from core.training.team.team import Team


def shard_parts(student: StudentStep, teacher: Teacher | None, team: Team, shard: int) -> None:
    """Put the ``student``'s step on a mesh of ``team``'s ranks, and a teacher that follows it where weights are split.

    A teacher that shares the student's towers, and a frozen one, are repeated by every rank.
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
def unsharded_parts(student: StudentStep, teacher: Teacher | None, blocks: bool) -> Iterator[None]:
    """Context in which everything but the blocks of student and teacher is unsharded.

    Without ``blocks`` these stay split and are gathered as they are called; what reads their parts (decoding captions
    with a cache) needs them whole.
    """
    from core.ranks.sharding import unsharded  # noqa: PLC0415  (needless in one process)

    follower = teacher.network if teacher is not None and teacher.moves else None
    networks = [student.network, *([follower] if follower is not None else [])]
    blocks_called = [] if blocks else [block for network in networks for block in network.blocks()]
    with unsharded(student, follower, called=blocks_called):
        yield
