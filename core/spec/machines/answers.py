"""Replies of ``sdgui-core remote`` as validated values.

Flow: a line of JSON from the host -> ``Connection`` -> a subclass of ``Answer``. Unknown fields of later versions are
ignored.
"""

from __future__ import annotations

import base64
import zlib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from core.spec.run.events import LATEST_TIME, Step, Time
from core.spec.run.status import RunState, RunStatus

_Bytes = Annotated[int, Field(ge=0, lt=1 << 62)]
_Count = Annotated[int, Field(ge=0, lt=1 << 31)]
_Text = Annotated[str, Field(max_length=100_000)]
_Line = Annotated[str, Field(max_length=4096)]
_Seconds = Annotated[float, Field(ge=-LATEST_TIME, le=LATEST_TIME)]
_Load = Annotated[float, Field(ge=0, le=1e9)]
_MAX_ITEMS = 10_000  # of any list

MAX_CHUNK_BYTES = 4 << 20  # a file is sent in chunks
MAX_UPLOAD_BYTES = 2 << 30  # total size of the images that a worker accepts from another computer


def pack_bytes(data: bytes) -> str:
    """Encode bytes as a JSON string: base64, compressed if that is shorter."""
    small = zlib.compress(data, 1) if len(data) > 512 else data
    return "z" + base64.b64encode(small).decode() if len(small) < len(data) else "=" + base64.b64encode(data).decode()


def unpack_bytes(value: Any) -> bytes:
    """Invert `pack_bytes`. Raises ValueError for malformed text, and for more than `MAX_CHUNK_BYTES`."""
    if not isinstance(value, str) or value[:1] not in ("=", "z") or len(value) > 2 * MAX_CHUNK_BYTES:
        raise ValueError("this is not a packed chunk of a file")
    raw = base64.b64decode(value[1:], validate=True)
    if value[0] == "z":
        unpacker = zlib.decompressobj()
        try:
            raw = unpacker.decompress(raw, MAX_CHUNK_BYTES)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if not unpacker.eof:
            raise ValueError("a chunk of a file is larger than allowed, or truncated")
    if len(raw) > MAX_CHUNK_BYTES:
        raise ValueError("a chunk of a file is larger than allowed")
    return raw


_Packed = Annotated[bytes, BeforeValidator(unpack_bytes)]


def _check_names_differ(files: list[FileFacts]) -> list[FileFacts]:
    if len({file.name for file in files}) < len(files):
        raise ValueError("a file is listed twice")
    return files


class Answer(BaseModel):
    """The base of all answers."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Hello(Answer):
    """The first line of a session: version and host of the remote program."""

    protocol: int
    version: _Line = ""
    python: _Line = ""
    host: _Line = ""


class Gpu(Answer):
    """A GPU, or a part of one (MIG). Memory in MiB, ``load`` 0 to 1.

    ``users``: "ann: python (12)" for each process on it, with less detail if it is not visible.
    """

    index: _Count
    name: _Line = ""
    uuid: _Line = ""
    memory: _Bytes = 0
    used: _Bytes = 0
    load: _Load | None = None
    users: Annotated[list[_Line], Field(max_length=_MAX_ITEMS)] = []

    @property
    def device(self) -> str:
        """The value for ``CUDA_VISIBLE_DEVICES``: the index, or the UUID of a part of a GPU (MIG)."""
        return self.uuid if self.uuid.startswith("MIG-") else str(self.index)

    @property
    def free(self) -> bool:
        """Whether the GPU is idle: no known process, and hardly any memory in use."""
        return not self.users and self.used <= max(600, self.memory // 50)


class Partition(Answer):
    """A Slurm partition. ``gpus`` is in sinfo's format ("gpu:a100:4"). ``time``: the maximum length of a job."""

    name: _Text
    default: bool = False
    nodes: _Count = 0
    idle: _Count = 0
    gpus: _Text = ""
    time: _Text = ""


class Facts(Answer):
    """Hardware and software of a machine. Memory in MiB, disk in bytes; ``load``: mean of the last minute in cores."""

    host: _Line
    system: _Text = ""
    cores: _Count = 0
    memory: _Bytes = 0
    memory_free: _Bytes = 0
    load: _Load | None = None
    gpus: Annotated[list[Gpu], Field(max_length=_MAX_ITEMS)] = []
    gpus_note: _Text = ""  # source of the list of GPUs: "nvml; GPU 1: is lost", or why no GPU is known
    python: _Text = ""
    version: _Text = ""  # sdgui's version
    torch: _Text = ""
    runs: _Text = ""  # the runs folder, ~ expanded
    disk_free: _Bytes = 0
    partitions: Annotated[list[Partition], Field(max_length=_MAX_ITEMS)] = []
    slurm: _Text = ""  # Slurm's version; "" if there is no Slurm
    time: Time = 0.0  # the host's clock


class Finding(Answer):
    """A line of a check: a subject, whether it works, details, and the remedy if it does not work."""

    name: _Text
    works: bool
    detail: _Text = ""
    remedy: _Text = ""


class DataFacts(Answer):
    """Data on the machine. ``digest``: see `core.data.inspection.statistics`. ``problem``: why it cannot be read."""

    name: _Text
    pairs: _Bytes = 0
    digest: _Text = ""
    problem: _Text = ""


class Submitted(Answer):
    """A submitted run: its remote folder, and its process or Slurm job."""

    folder: Annotated[str, Field(min_length=1, max_length=4096)]
    pid: _Count = 0
    job: _Line = ""


class RemoteStatus(Answer):
    """The state of a run as reported by its machine.

    ``age``: seconds since the heartbeat by the machine's clock; None if there is no status. ``note``: why the run waits
    or ended. ``job``: the Slurm job. ``expected``: seconds until the run should start.
    """

    folder: _Text
    state: RunState
    note: _Text = ""
    age: _Seconds | None = None
    status: RunStatus | None = None
    job: _Text = ""
    scheduler: _Text = ""  # Slurm's state: PENDING, RUNNING, TIMEOUT ...
    expected: _Seconds | None = None
    step: Step = 0


class Bytes(Answer):
    """The next chunk of an append-only file. ``restart``: discard earlier chunks."""

    folder: _Text
    file: Literal["events.jsonl", "stdout.log", "stderr.log"]
    offset: _Bytes
    data: _Packed
    restart: bool = False


class Trouble(Answer):
    """Why a followed run cannot be read on its machine."""

    folder: _Text
    message: _Text


CHECKPOINT_FILE = r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,100}$"


class FileFacts(Answer):
    """A file of a checkpoint."""

    name: Annotated[str, Field(pattern=CHECKPOINT_FILE)]
    size: _Bytes
    stamp: int  # modification time in nanoseconds, which identifies the version of the file


class CheckpointFacts(Answer):
    """A checkpoint on the machine. All names become local file names, so they are restricted."""

    name: Annotated[str, Field(pattern=r"^step-[0-9]{1,20}$")]
    files: Annotated[list[FileFacts], Field(max_length=_MAX_ITEMS), AfterValidator(_check_names_differ)]
    pointers: list[Literal["best", "last"]] = []


class Chunk(Answer):
    """A chunk of a file."""

    data: _Packed
    size: _Bytes  # size of the whole file
    stamp: int
