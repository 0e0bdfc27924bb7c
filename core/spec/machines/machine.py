"""Settings of a machine: ssh host, Python, runs folder, and launcher.

This computer is the machine without a ``host``.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Launcher = Literal["direct", "torchrun", "slurm"]
CPUS_PER_GPU = 8  # for the trainer and seven loader processes; a cluster's default is often one core
LOCAL = "this computer"  # the name of the machine without a host
_NAME = re.compile(r"[^\x00-\x1f/\\]{1,100}")
_HOST = re.compile(r"[A-Za-z0-9_\[][A-Za-z0-9_.:@\[\]%+-]{0,254}")  # never an option
_LINE = re.compile(r"[^\x00-\x1f]{0,2000}")
_TEXT = re.compile(r"[^\x00-\x08\x0b-\x1f]{0,20000}")


class Machine(BaseModel):
    """A machine. ``host``: a name that ssh accepts (an alias in ``~/.ssh/config``, or USER@HOST).

    ``python``: the interpreter's path; "" uses the environment of `install`, or ``sdgui-core`` on PATH without it.
    ``setup``: shell commands to run first (``module load cuda``). ``runs``: the runs folder, which may start with ~.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    host: str = ""
    python: str = ""
    setup: str = ""
    runs: str = "~/sdgui-runs"
    launcher: Launcher = "direct"
    at_once: Annotated[int, Field(ge=1, le=1000)] = 1  # most parallel runs if the machine has no GPU
    nodes: Annotated[int, Field(ge=1, le=10000)] = 1  # the fields below are for Slurm; ``processes`` also for torchrun
    processes: Annotated[int, Field(ge=0, le=1024)] = 0  # per node; 0: one per GPU, or one
    gpus: Annotated[int, Field(ge=0, le=1024)] = 0  # per node
    cpus: Annotated[int, Field(ge=0, le=1024)] = 0  # cores per process; 0: CPUS_PER_GPU with a GPU
    partition: str = ""
    time: str = ""  # in Slurm's format: 2-00:00:00
    warning: Annotated[int, Field(ge=10, le=36000)] = 120  # seconds before the time limit at which a run is saved
    sbatch: str = ""  # more #SBATCH lines
    script: str = ""  # a complete script, instead of the one made from these settings

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not _NAME.fullmatch(value) or value != value.strip():
            raise ValueError("a machine's name must have 1 to 100 characters and no slashes; choose another name")
        return value

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        if value and not _HOST.fullmatch(value):
            raise ValueError("this is not a valid ssh name; enter an alias from ~/.ssh/config, or USER@HOST")
        return value

    @field_validator("python", "runs", "partition", "time")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not _LINE.fullmatch(value):
            raise ValueError("this must be one line of at most 2,000 characters")
        return value

    @field_validator("setup", "sbatch")
    @classmethod
    def _lines(cls, value: str) -> str:
        if not _TEXT.fullmatch(value):
            raise ValueError("this must be text of at most 20,000 characters without control characters")
        return value

    @field_validator("script")
    @classmethod
    def _script(cls, value: str) -> str:
        if len(value) > 100_000 or "\0" in value:
            raise ValueError("a script has at most 100,000 characters")
        if value and not value.startswith("#!"):
            raise ValueError("a script must begin with the line #!/bin/bash")
        return value

    @model_validator(mode="after")
    def _sbatch_lines(self) -> Machine:
        wrong = [line for line in self.sbatch.splitlines() if line.strip() and not line.startswith("#SBATCH ")]
        if wrong:
            raise ValueError(f"each line of sbatch must start with '#SBATCH ', not {wrong[0][:40]!r}")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the machine is this computer."""
        return not self.host

    @property
    def ranks(self) -> int:
        """The number of processes per node."""
        return self.processes or self.gpus or 1


def this_computer(runs: str = "~/sdgui-runs") -> Machine:
    """The machine that this program runs on."""
    return Machine(name=LOCAL, runs=runs)
