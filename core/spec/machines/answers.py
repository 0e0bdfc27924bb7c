"""What a machine answers: each reply of ``sdgui-core remote`` as a checked value.

Flow: a line of JSON from the host -> ``Connection`` -> one of these. A later version's further fields are ignored.
"""

from __future__ import annotations

import base64
import zlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from core.spec.run.event_fields import LARGEST_STEP, LATEST
from core.spec.run.status import RunState, RunStatus

_Step = Annotated[int, Field(ge=0, le=LARGEST_STEP)]
_Bytes = Annotated[int, Field(ge=0, lt=1 << 62)]
_Text = Annotated[str, Field(max_length=100_000)]

MOST_BYTES = 4 << 20  # of one part of a file
MOST_SENT = 2 << 30  # bytes of pictures that a worker takes from another computer


def packed(data: bytes) -> str:
    """Bytes as text of JSON: base64, compressed where that is less."""
    small = zlib.compress(data, 1) if len(data) > 512 else data
    return "z" + base64.b64encode(small).decode() if len(small) < len(data) else "=" + base64.b64encode(data).decode()


def unpacked(value: Any) -> bytes:
    """What `packed` wrote; ValueError for anything else, and for more than `MOST_BYTES`."""
    if not isinstance(value, str) or value[:1] not in ("=", "z") or len(value) > 2 * MOST_BYTES:
        raise ValueError("this is no packed part of a file")
    raw = base64.b64decode(value[1:], validate=True)
    if value[0] == "z":
        unpacker = zlib.decompressobj()
        try:
            raw = unpacker.decompress(raw, MOST_BYTES)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if not unpacker.eof:
            raise ValueError("a part of a file is larger than allowed, or cut")
    return raw


_Packed = Annotated[bytes, BeforeValidator(unpacked)]


class Answer(BaseModel):
    """The base of all answers."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Hello(Answer):
    """The first line: who answers."""

    protocol: int
    version: _Text = ""
    python: _Text = ""
    host: _Text = ""


class Gpu(Answer):
    """One GPU, or a part of one (MIG). Memory in MiB, ``load`` 0 to 1.

    ``users``: "ann: python (12)" for each process on it, less where not all of that may be seen.
    """

    index: int
    name: _Text = ""
    uuid: _Text = ""
    memory: _Bytes = 0
    used: _Bytes = 0
    load: float | None = None
    users: list[_Text] = []

    @property
    def device(self) -> str:
        """What ``CUDA_VISIBLE_DEVICES`` takes for it: the index, of a part of a GPU (MIG) the UUID."""
        return self.uuid if self.uuid.startswith("MIG-") else str(self.index)

    @property
    def free(self) -> bool:
        """Whether nobody computes on it: no process known, and next to no memory taken."""
        return not self.users and self.used <= max(600, self.memory // 50)


class Partition(Answer):
    """A partition of Slurm's; ``gpus`` as sinfo writes them ("gpu:a100:4"), ``time`` the longest job."""

    name: _Text
    default: bool = False
    nodes: int = 0
    idle: int = 0
    gpus: _Text = ""
    time: _Text = ""


class Facts(Answer):
    """What a machine has. Memory in MiB, disk in bytes; ``load`` is the mean of the last minute in cores."""

    host: _Text
    system: _Text = ""
    cores: int = 0
    memory: _Bytes = 0
    memory_free: _Bytes = 0
    load: float | None = None
    gpus: list[Gpu] = []
    gpus_by: _Text = ""  # what told the GPUs: "nvml; GPU 1: is lost", "nvidia-smi", or why none is known
    python: _Text = ""
    version: _Text = ""  # of sdgui
    torch: _Text = ""
    runs: _Text = ""  # the runs folder, ~ expanded
    disk_free: _Bytes = 0
    partitions: list[Partition] = []
    slurm: _Text = ""  # its version; "" without
    time: Annotated[float, Field(ge=0, le=LATEST)] = 0.0  # the host's clock


class Finding(Answer):
    """One line of a check: what was looked at, whether it works, what was found, and what to do if it does not."""

    what: _Text
    works: bool
    found: _Text = ""
    remedy: _Text = ""


class DataFacts(Answer):
    """Data at a path there; ``digest``: see `core.data.inspection.fingerprint`. ``problem``: why it cannot be read."""

    name: _Text
    pairs: int = 0
    digest: _Text = ""
    problem: _Text = ""


class Submitted(Answer):
    """A run that was handed over: its folder there, and its process or Slurm job."""

    folder: _Text
    pid: int = 0
    job: _Text = ""


class Standing(Answer):
    """The state of a run as its machine sees it.

    ``age``: seconds since the heartbeat by the machine's own clock; None where there is no status yet. ``note`` says
    why it waits, or why it ended. ``job``: the Slurm job; ``expected``: seconds until it should start.
    """

    folder: _Text
    state: RunState
    note: _Text = ""
    age: float | None = None
    status: RunStatus | None = None
    job: _Text = ""
    scheduler: _Text = ""  # Slurm's own word: PENDING, RUNNING, TIMEOUT ...
    expected: float | None = None
    step: _Step = 0


class Bytes(Answer):
    """The next part of a file that only grows. ``anew``: what was sent of it before no longer counts."""

    folder: _Text
    file: Literal["events.jsonl", "stdout.log", "stderr.log"]
    at: _Bytes
    data: _Packed
    anew: bool = False


class FileFacts(Answer):
    """A file of a checkpoint."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}$")]
    size: _Bytes
    stamp: int  # its time of change in nanoseconds: another number is another file


class CheckpointFacts(Answer):
    """A checkpoint on the machine. Its name and its files' become names here, so they are plain ones."""

    name: Annotated[str, Field(pattern=r"^step-[0-9]{1,20}$")]
    files: list[FileFacts]
    pointers: list[Literal["best", "last"]] = []


class Chunk(Answer):
    """A part of a file."""

    data: _Packed
    size: _Bytes  # of the whole file
    stamp: int


class RunFacts(Answer):
    """A run folder on a machine, as its list shows it."""

    folder: _Text
    name: _Text
    state: RunState
    step: _Step = 0
    total_steps: _Step = 0
    started: float | None = None
