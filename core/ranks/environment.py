"""The rank of this process in a run, from torchrun's environment variables; does not import torch.

Flow: ``python -m core train`` calls ``from_environment``; ``core.ranks.launch`` joins the processes. RANK, WORLD_SIZE,
LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT are the only information about a cluster. torchrun sets them;
other launchers can too (``srun`` with a line of shell).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass

from core.spec.errors import UserError

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
MAX_PROCESSES = 1 << 20


class LaunchError(UserError):
    """Processes that cannot train together; the message gives the reason and the remedy."""


@dataclass(frozen=True)
class Launch:
    """The position of this process in a run."""

    rank: int = 0
    size: int = 1  # processes of the run, on all hosts
    local_rank: int = 0
    local_size: int = 1  # processes on this host
    restart: str = "0"  # torchrun's restart count

    @property
    def host(self) -> str:
        """The name of this machine."""
        return platform.node() or "this host"

    @property
    def one_host(self) -> bool:
        """Whether all processes of the run are on this host."""
        return self.local_size == self.size


def from_environment(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """The launch that the environment describes; None for a single process.

    Raises LaunchError if the variables are invalid.
    """
    if not environment.get("WORLD_SIZE") or not environment.get("RANK"):
        return None
    values = {name: environment.get(name, "") for name in _NUMBERS}
    values["LOCAL_RANK"] = values["LOCAL_RANK"] or values["RANK"]
    values["LOCAL_WORLD_SIZE"] = values["LOCAL_WORLD_SIZE"] or values["WORLD_SIZE"]
    numbers = {}
    for name, text in values.items():
        if not text.isdecimal() or int(text) > MAX_PROCESSES:
            raise LaunchError(f"the environment variable {name} is {text}, not a number up to {MAX_PROCESSES}; start "
                              "with torchrun, or unset WORLD_SIZE to train in one process.")  # fmt: skip
        numbers[name] = int(text)
    rank, size, local_rank, local_size = (numbers[name] for name in _NUMBERS)
    if rank >= size or local_rank >= local_size or local_size > size:
        raise LaunchError(
            f"the environment's RANK {rank} of WORLD_SIZE {size}, LOCAL_RANK {local_rank} of LOCAL_WORLD_SIZE "
            f"{local_size} is not a valid rank; start with torchrun, or unset WORLD_SIZE to train in one process."
        )
    return Launch(rank, size, local_rank, local_size, environment.get("TORCHELASTIC_RESTART_COUNT", "0"))


def check_mesh(size: int, shard: int) -> None:
    """Raise LaunchError unless ``shard`` divides ``size``."""
    if shard > size or size % shard:
        raise LaunchError(
            f"runtime.shard is {shard}, which does not divide {size} processes; set it to a divisor of "
            f"{size}, or start another number of processes."
        )


def check_batch_size(size: int, batch_size: int) -> None:
    """Raise LaunchError unless the rows of a batch can be split evenly over ``size`` processes."""
    if batch_size % size:
        raise LaunchError(
            f"a batch of {batch_size} pairs cannot be split evenly over {size} processes; set optim.batch_size to a "
            f"multiple of {size}, or start another number of processes."
        )
