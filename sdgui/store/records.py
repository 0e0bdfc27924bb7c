"""Records of the store: frozen plain data, never database objects.

Flow: ``Store`` reads rows and returns these; panels show them; the tailer and ``Store.import_run`` hand a
``Progress`` back in. They may be kept, compared and passed between threads.
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
from core.spec.run.metric_names import higher_is_better as higher_is_better  # these are found here too
from core.spec.run.metric_names import ranks_runs as ranks_runs
from core.spec.run.status import RunState

Ending = Literal["", "done", "stopped", "paused", "failed"]


class StoreError(UserError):
    """A failed request to the database; the message names the file or the record, and the remedy."""


class ChangedElsewhereError(StoreError):
    """Another window changed the text to be replaced, so nothing was written; ``stored`` is its text."""

    def __init__(self, subject: str, stored: str) -> None:
        super().__init__(f"{subject} was changed in another window while you edited it, so yours is not saved.")
        self.stored = stored


class StoreUnavailableError(StoreError):
    """The database is locked, full, damaged or not writable: the request can be tried again later."""


@dataclass(frozen=True)
class Experiment:
    """A config that runs are launched from. ``config`` is None when it no longer validates; see ``problem``."""

    id: int
    name: str
    config_json: str
    config: RunConfig | None
    problem: str  # "" or why the config cannot be used, with the remedy
    logged_project: str = field(default="", kw_only=True)  # the project whose runs scripts log; "" for any other
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
    best: float  # nan while no finite value was seen
    best_step: int


@dataclass(frozen=True)
class BestPoint:
    """The point by which runs are ranked: the highest mean recall on validation data, of student or teacher."""

    metric: str
    value: float
    step: int


@dataclass(frozen=True)
class Place:
    """Where a run is to train. ``host``: a machine, "" for this computer; ``devices``: "0,1", "" for the first free."""

    host: str = ""
    devices: str = ""


HERE = Place()


@dataclass(frozen=True)
class Run:
    """One training of a config. The config itself is in the folder's ``config.json``."""

    id: int
    experiment_id: int
    key: str  # short, never reused, part of the folder's name
    folder: Path
    digest: str  # of the frozen config; differs from the experiment's once that was edited
    created: float  # seconds since the epoch, as the other times
    state: RunState
    launched: float | None = None  # when its trainer was last started
    started: float | None = None  # when training first began
    finished: float | None = None
    step: int = 0
    total_steps: int = 0
    best: BestPoint | None = None
    offset: int = 0  # bytes of events.jsonl that step, best and summaries account for
    ending: Ending = ""  # the last lifecycle event, "" after a start
    failure: str = ""  # what went wrong, for the user
    parent: str = ""  # the run that it continues, forks or fine-tunes, in words
    queue_position: int | None = None  # None: not waiting
    machine: str = ""  # the machine that it trains on; "" for the one that has its folder
    devices_asked: str = ""  # "" for any, else "0" or "0,1"
    devices: str = ""  # the devices of its last start
    owner: str = ""  # who launched or queued it
    owner_host: str = ""  # the computer that its folder is on; "" for this one
    is_own: bool = True  # its folder is on this computer, and this home launched or imported it
    remote_folder: tuple[str, str] | None = None  # (computer, folder) of a run that trains elsewhere
    is_logged: bool = False  # by a script of the user's own, so that no trainer can pause or resume it
    tags: tuple[str, ...] = ()
    note: str = ""
    deleted: float | None = None

    @property
    def dir(self) -> RunDir:
        return RunDir(self.folder)

    @property
    def is_local(self) -> bool:
        """Whether its folder is on this computer; otherwise only the registry's data is known."""
        return self.owner_host in ("", platform.node())

    @property
    def refusal(self) -> str:
        """Why this window cannot start, stop, pause or queue it; "" for a run of this home."""
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
    """The progress of a run by the first ``offset`` bytes of its events; recording it twice changes nothing."""

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
