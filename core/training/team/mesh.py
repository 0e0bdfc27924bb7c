"""The networks of a run over ranks: which are split or repeated, and how they are read as a whole.

Flow: the loop calls ``shard_parts`` before it builds the optimiser, and reads the networks apart from a step within
``unsharded_parts``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from core.model.network import Network
from core.teacher.teacher import Teacher
from core.training.team.team import Team


def shard_parts(student: nn.Module, network: Network, teacher: Teacher | None, team: Team, shard: int) -> None:
    """Put the ``student``'s step on a mesh of ``team``'s ranks, and a teacher that follows it where weights are split.

    A teacher that shares the student's towers, and a frozen one, are repeated by every rank.
    """
    if team.size == 1:
        return
    from core.ranks.sharding import mesh_of, shard_module  # noqa: PLC0415  (needless in one process)

    team.start_alike(network, teacher.network if teacher is not None and teacher.moves else None)
    mesh = mesh_of(team.size, shard, network.towers.pixel_mean.device)
    team.sharded = shard > 1
    shard_module(student, network.blocks(), mesh)
    if shard > 1 and teacher is not None and teacher.moves and teacher.network.towers is not network.towers:
        shard_module(teacher.network, teacher.network.blocks(), mesh)


@contextmanager
def unsharded_parts(student: nn.Module, teacher: Teacher | None) -> Iterator[None]:
    """While entered, student and teacher are whole, for what does not go through the student's step."""
    from core.ranks.sharding import unsharded  # noqa: PLC0415  (needless in one process)

    with unsharded(student, teacher.network if teacher is not None and teacher.moves else None):
        yield
