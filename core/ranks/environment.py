"""Which process of a run this is, as torchrun's environment says it; told without loading torch.

Flow: ``python -m core train`` asks ``from_environment``; ``core.ranks.launch`` joins the processes. RANK, WORLD_SIZE,
LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT are all that is known of a cluster: torchrun sets them, and
anything else may (``srun`` with a line of shell).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass

from core.spec.errors import UserError
from core.spec.reading import excerpt

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
LARGEST = 1 << 20


class LaunchError(UserError):
    """Processes that cannot train together; the message says why and what to change."""


@dataclass(frozen=True)
class Launch:
    """Which process of a run this is."""

    rank: int = 0
    size: int = 1  # processes of the run, on all hosts
    local_rank: int = 0
    local_size: int = 1  # processes on this host
    restart: str = "0"  # which attempt of torchrun's it is

    @property
    def host(self) -> str:
        """This machine's name."""
        return platform.node() or "this host"

    @property
    def one_host(self) -> bool:
        """Whether all processes of the run are on this host."""
        return self.local_size == self.size


def from_environment(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """The launch that the environment describes; None for a program that was started by itself.

    LaunchError when it describes none that is possible.
    """
    if not environment.get("WORLD_SIZE") or not environment.get("RANK"):
        return None
    given = {name: environment.get(name, "") for name in _NUMBERS}
    given["LOCAL_RANK"] = given["LOCAL_RANK"] or given["RANK"]
    given["LOCAL_WORLD_SIZE"] = given["LOCAL_WORLD_SIZE"] or given["WORLD_SIZE"]
    numbers = {}
    for name, text in given.items():
        if not text.isdecimal() or int(text) > LARGEST:
            raise LaunchError(f"the environment's {name} is {excerpt(text)}, which is no number of processes; torchrun "
                              "sets it, or unset WORLD_SIZE to train in one process.")  # fmt: skip
        numbers[name] = int(text)
    rank, size, local_rank, local_size = (numbers[name] for name in _NUMBERS)
    if rank >= size or local_rank >= local_size or local_size > size:
        raise LaunchError(
            f"the environment's RANK {rank} of WORLD_SIZE {size}, LOCAL_RANK {local_rank} of LOCAL_WORLD_SIZE "
            f"{local_size} is no process of a run; start it with torchrun, or unset WORLD_SIZE to train in one process."
        )
    return Launch(rank, size, local_rank, local_size, environment.get("TORCHELASTIC_RESTART_COUNT", "0"))


def check_mesh(size: int, shard: int) -> None:
    """LaunchError unless ``shard`` ranks that split the weights fit into ``size``."""
    if shard > size or size % shard:
        raise LaunchError(
            f"runtime.shard is {shard}, and {size} processes cannot be parted into groups of as many; set it to a "
            f"number that divides {size}, or start another number of processes."
        )


def check_shares(size: int, batch_size: int) -> None:
    """LaunchError when the rows of a batch cannot be dealt out evenly to ``size`` processes."""
    if batch_size % size:
        raise LaunchError(
            f"A batch of {batch_size} pairs cannot be shared evenly by {size} processes; choose a number of processes "
            "that divides it, or set optim.batch_size to a multiple of theirs."
        )
