"""Records of the store: frozen plain data, never database objects.

Flow: ``Store`` reads rows and returns records; panels show them; the follower and ``Store.import_run`` pass a
``Progress`` to the store. Records can be kept, compared and passed between threads.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core.spec.config import RunConfig
from core.spec.errors import UserError
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState

Ending = Literal["", "done", "stopped", "paused", "failed"]


class StoreError(UserError):
    """A failed request to the database; the message names the file or the record, and the remedy."""


class ChangedElsewhereError(StoreError):
    """Another window has changed the text, so nothing was written. ``stored``: the other window's text."""

    def __init__(self, subject: str, stored: str) -> None:
        super().__init__(f"{subject} was changed in another window while you edited it, so your version is not saved.")
        self.stored = stored


class StoreUnavailableError(StoreError):
    """The database is locked, full, damaged or not writable: the request can be tried again later."""


@dataclass(frozen=True)
class Experiment:
    """A config that runs are launched from. ``config`` is None if it no longer validates; see ``problem``."""

    id: int
    name: str
    config_json: str
    config: RunConfig | None
    problem: str  # why the config cannot be used, with a remedy; "" if it can
    logged_project: str = field(default="", kw_only=True)  # project name if scripts log its runs, otherwise ""
    created: float  # seconds since the epoch
    changed: float
    tags: tuple[str, ...] = ()
    note: str = ""
    deleted: float | None = None  # when it was put in the bin


@dataclass(frozen=True)
class MetricSummary:
    """One metric of one run. ``best`` is the highest or the lowest, by ``higher_is_better``."""

    last: float
    last_step: int
    best: float  # nan until there is a finite value
    best_step: int


@dataclass(frozen=True)
class BestPoint:
    """The point by which runs are ranked: the highest mean recall on validation data, of student or teacher."""

    metric: str
    value: float
    step: int


@dataclass(frozen=True)
class Place:
    """Requested machine and devices. ``host`` is "" for this computer; ``devices`` is "" for any, or such as "0,1"."""

    host: str = ""
    devices: str = ""


THIS_COMPUTER = Place()
HUE_COUNT = 20  # run colours; palette index + HUE_COUNT is the next shade of the same colour


@dataclass(frozen=True)
class Run:
    """One training of a config. The config itself is in the folder's ``config.json``."""

    id: int
    experiment_id: int
    key: str  # short, never reused, part of the folder's name
    folder: Path
    digest: str  # digest of the frozen config; the experiment may have been edited since
    created: float  # seconds since the epoch, like all times here
    state: RunState
    launched: float | None = None  # when its trainer was last started
    started: float | None = None  # when training first began
    finished: float | None = None
    training_seconds: float = 0.0  # seconds of training, including repeated steps but not the time between segments
    last_event: float | None = None  # time of the last event
    step: int = 0
    total_steps: int = 0
    best: BestPoint | None = None
    offset: int = 0  # bytes of events.jsonl that are included in step, best and summaries
    ending: Ending = ""  # the last lifecycle event, "" after a start
    failure: str = ""  # what went wrong, for the user
    parent: str = ""  # description of the run that it continues, forks or fine-tunes
    queue_position: int | None = None  # None: not waiting
    machine: str = ""  # machine that it trains on; "" for the computer with the run folder
    devices_asked: str = ""  # such as "0" or "0,1"; "" for any
    devices: str = ""  # the devices of its last start
    owner: str = ""  # who launched or queued it
    owner_host: str = ""  # the computer that its folder is on; "" for this one
    is_own: bool = True  # its folder is on this computer, and this home launched or imported it
    remote_folder: tuple[str, str] | None = None  # (computer, folder) of a run that trains elsewhere
    is_logged: bool = False  # logged by a user's script, so it cannot be paused or resumed
    tags: tuple[str, ...] = ()
    note: str = ""
    deleted: float | None = None

    @property
    def dir(self) -> RunDir:
        return RunDir(self.folder)

    @property
    def folder_missing(self) -> bool:
        """Whether the run has started and its folder on this computer no longer exists. Reads the disk."""
        return self.is_local and (self.launched is not None or self.offset > 0) and not self.folder.exists()

    @property
    def is_local(self) -> bool:
        """Whether the run folder is on this computer; otherwise only the registry's data is available."""
        return self.owner_host in ("", platform.node())

    @property
    def refusal(self) -> str:
        """Why this window cannot start, stop, pause or queue the run; "" for a run of this home."""
        if self.is_own:
            return ""
        return f"Only {self.owner or 'its owner'} can do this, in the window on {self.owner_host}."


@dataclass(frozen=True)
class RunLabel:
    """The display name of a run, and the palette index of its colour."""

    name: str
    color: int


@dataclass(frozen=True)
class Progress:
    """The progress of a run after the first ``offset`` bytes of its events; recording it twice changes nothing."""

    state: RunState
    offset: int
    step: int = 0
    total_steps: int = 0
    started: float | None = None
    finished: float | None = None
    ending: Ending = ""
    failure: str = ""
    best: BestPoint | None = None
    parent: str = ""
    summaries: Mapping[str, MetricSummary] = field(default_factory=dict)
    training_seconds: float = 0.0
    last_event: float | None = None
