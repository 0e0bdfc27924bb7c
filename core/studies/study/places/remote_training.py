"""A run of a study on another machine: mirrored while it is at work, its measures fetched when it is done.

Flow: ``Work`` hands it over -> ``RemoteRuns.attach`` mirrors its folder -> ``config.json`` when it has begun -> when
its machine calls it done, the rest of its events and ``exports/measures.json``. What was begun is noted in the run's
``remote.json``, so that a study that is started again goes on with the same run, alive or not.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from core.spec.errors import UserError, writing
from core.spec.files import check_inside, write_whole
from core.spec.machines.answers import Standing
from core.spec.machines.host import Host
from core.spec.machines.record import RemoteRecord, read_record, record_file, write_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.machines.ssh import LineDown, MachineRefused
from core.spec.reading import MEGABYTE
from core.spec.run.status import RunState
from core.spec.study import RunState as StudyRunState
from core.spec.study import Study, StudyDir, StudyRun
from core.spec.study.records import LARGEST_MEASURES
from core.studies.study.claiming import StudyError
from core.studies.study.places.place import Ended
from core.studies.study.places.remote_job import Order, Work, fetched

EVALUATING = "evaluating"  # the note of a run whose training is done
RESULT = "exports/measures.json"
_MIRRORED_SECONDS = 20.0  # that the rest of a finished run's events may take to arrive


class RemoteTraining:
    """One run; ``freed`` is called once, when its device is free again."""

    def __init__(
        self,
        remote: RemoteRuns,
        host: Host,
        study: Study,
        out: StudyDir,
        run: StudyRun,
        order: Order,
        freed: Callable[[], object],
    ) -> None:
        """UserError when its folder here cannot be used."""
        self.state: StudyRunState = "training"
        self.told = ""
        self._remote, self._host, self._study, self._out, self._run = remote, host, study, out, run
        self._dir = out.run(run.arm, run.seed)
        check_inside(out.path, out.written_of(run.arm, run.seed), StudyError)
        self._dir.create()
        with writing(self._dir.path, UserError):
            self._dir.clear_control()
        record = read_record(self._dir)
        self._begun_before = record is not None and bool(record.folder) and not record.waiting
        if record is None or self._begun_before:
            folder = record.folder if record is not None else ""
            self._record = RemoteRecord(
                machine=host.machine.name, host=host.machine.host, folder=folder, token=order.token, study=True,
                waiting=not folder, devices=list(order.devices),
            )  # fmt: skip
        else:
            self._record = record  # handed over, and not confirmed before this program was ended
        write_record(self._dir, self._record)
        self._work = Work(host, replace(order, token=self._record.token), self._record.folder)
        self._freed: Callable[[], object] | None = freed
        self._closing = threading.Event()
        self._fetching: threading.Thread | None = None
        self._fetched: Ended | None = None
        self._ending = False

    def look(self) -> Ended | None:
        """Also takes what was heard since, and mirrors the run unless another program does."""
        if self._fetching is not None:
            return None if self._fetching.is_alive() else self._take_fetched()
        if self._ending and self._work.untouched:
            return self._end(Ended("it was not begun before the study was ended."))
        try:
            standing = self._work.look()
            self._note()
        except MachineRefused as error:
            self._forget()
            return self._end(Ended(str(error), again=True))
        except UserError as error:
            return self._failed(str(error))
        self.told = self._work.told
        return self._stands(standing) if standing is not None else None

    def ask_to_end(self) -> None:
        """Over a line that is down it is passed on once somebody follows the run again."""
        self._ending = True
        self._dir.ask("stop")
        if self._work.folder and self._host.state.kind == "ready":
            self._host.control(self._work.folder, "stop")

    def leave(self) -> None:
        """It goes on there, and is found again when the study is started the next time."""
        self._closing.set()

    def _note(self) -> None:
        """Once the machine has confirmed that it has the run: where."""
        if self._work.folder and self._record.waiting:
            self._record = self._record.model_copy(update={"folder": self._work.folder, "waiting": False})
            write_record(self._dir, self._record)

    def _stands(self, standing: Standing) -> Ended | None:
        state = standing.state
        self._remote.attach(self._dir)
        if state.alive:
            self._begun_before = False
            self.state = "measuring" if standing.note == EVALUATING else "training"
            self.told = standing.note if state is RunState.STARTING else self.told
            if not self._dir.config.exists() and self._dir.events.exists():
                self._fetch(self._fetch_config)
        elif state is RunState.DONE:
            self._fetch(self._fetch_measures)
        elif self._begun_before and not self._ending:
            self._hand_over_again()
        elif state in (RunState.PAUSED, RunState.STOPPED):
            return self._end(Ended(f"it was {state.value} on {self._record.machine}; resume the study to go on."))
        else:
            return self._failed(standing.note or f"it ended as {state.value}")
        return None

    def _hand_over_again(self) -> None:
        """It ended before it was done, or has more to measure by now."""
        self._begun_before = False
        self._record = self._record.model_copy(update={"token": secrets.token_hex(8), "folder": "", "waiting": True})
        write_record(self._dir, self._record)
        self._work = Work(self._host, replace(self._work.order, token=self._record.token))

    def _end(self, ended: Ended) -> Ended:
        if self._freed is not None:
            freed, self._freed = self._freed, None
            freed()
        self._remote.detach(self._dir)
        return ended

    def _failed(self, problem: str) -> Ended:
        ended = self._end(Ended(problem))
        self._forget()
        return ended

    def _forget(self) -> None:
        """What has not trained a step may be begun on another machine the next time."""
        if not self._dir.events.exists():
            record_file(self._dir.path).unlink(missing_ok=True)

    # What is fetched, in a thread of its own
    def _fetch(self, what: Callable[[], Ended | None]) -> None:
        def work() -> None:
            try:
                self._fetched = what()
            except LineDown:  # the study was ended meanwhile
                self._fetched = None
            except UserError as error:
                self._fetched = Ended(str(error))

        self._fetching = threading.Thread(target=work, name="study fetch", daemon=True)
        self._fetching.start()

    def _take_fetched(self) -> Ended | None:
        self._fetching, found = None, self._fetched
        self._fetched = None
        if found is None:
            return None
        if found.problem:
            return self._failed(found.problem)
        if self._begun_before and self._out.missing(self._study, self._run.arm, self._run.seed):
            self._hand_over_again()  # sent at the next look, unless the study is being ended
            return None
        return self._end(found)

    def _fetch_config(self) -> None:
        config = fetched(self._host, self._work.folder, "config.json", 4 * MEGABYTE, self._closing.is_set)
        with writing(self._dir.config, UserError):
            write_whole(self._dir.config, config)

    def _fetch_measures(self) -> Ended:
        """The measures come last: where they are, the run is done."""
        if not self._dir.config.exists():
            self._fetch_config()
        measures = fetched(self._host, self._work.folder, RESULT, LARGEST_MEASURES, self._closing.is_set)
        size = self._host.read(self._work.folder, "events.jsonl", 0, 1).result().size
        until = time.monotonic() + _MIRRORED_SECONDS
        while not self._mirrored(size) and time.monotonic() < until and not self._closing.is_set():
            time.sleep(0.1)
        path = self._out.measures(self._run.arm, self._run.seed)
        with writing(path, UserError):
            write_whole(path, measures)
        return Ended()

    def _mirrored(self, size: int) -> bool:
        """Whether all that it has told is here, for whoever looks at its curves later."""
        status = self._dir.read_status()
        here = self._dir.events.stat().st_size if self._dir.events.exists() else 0
        return here >= size and status is not None and status.verdict == RunState.DONE.value
