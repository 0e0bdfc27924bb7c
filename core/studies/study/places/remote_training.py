"""A run of a study on another machine: mirrored while it trains, its measures fetched when it is done.

Flow: ``RemoteJob`` submits the run -> ``RemoteRuns.attach`` mirrors its folder -> ``config.json`` once it has started
-> the rest of its events and ``exports/measures.json`` when it is done. The run's ``remote.json`` records the
submission, so that a restarted study continues with the same run.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from core.spec.errors import UserError, writing
from core.spec.files import check_inside, write_whole
from core.spec.machines.answers import RemoteStatus
from core.spec.machines.host import Host
from core.spec.machines.record import RemoteRecord, read_record, record_file, write_record
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.machines.ssh import ConnectionLost, MachineRefused
from core.spec.reading import MEGABYTE
from core.spec.run.status import RunState
from core.spec.study import RunState as StudyRunState
from core.spec.study import Study, StudyDir, StudyRun
from core.spec.study.records import MAX_MEASURES_BYTES
from core.studies.study.claiming import StudyError
from core.studies.study.places.place import Ended
from core.studies.study.places.remote_job import JobRequest, RemoteJob, fetch_file

EVALUATING = "evaluating"  # the note of a run whose training is done
RESULT = "exports/measures.json"
_MIRROR_WAIT_SECONDS = 20.0  # how long to wait for the last events of a finished run


class RemoteTraining:
    """One run on another machine. ``release_device`` is called once, when its device is free again."""

    def __init__(
        self,
        remote: RemoteRuns,
        host: Host,
        study: Study,
        out: StudyDir,
        run: StudyRun,
        request: JobRequest,
        release_device: Callable[[], object],
    ) -> None:
        """Raises UserError if the local folder cannot be used."""
        self.state: StudyRunState = "training"
        self.trouble = ""
        self._remote, self._host, self._study, self._out, self._run = remote, host, study, out, run
        self._dir = out.run(run.arm, run.seed)
        check_inside(out.path, out.written_paths_of(run.arm, run.seed), StudyError)
        self._dir.create()
        with writing(self._dir.path, UserError):
            self._dir.clear_control()
        record = read_record(self._dir)
        # Whether an earlier process of the study started the run; it may have ended since.
        self._begun_before = record is not None and bool(record.folder) and not record.waiting
        if record is None or self._begun_before:
            folder = record.folder if record is not None else ""
            self._record = RemoteRecord(
                machine=host.machine.name, host=host.machine.host, folder=folder, token=request.token, study=True,
                waiting=not folder, devices=list(request.devices),
            )  # fmt: skip
        else:
            self._record = record  # submitted, but not confirmed before the last study process ended
        write_record(self._dir, self._record)
        self._job = RemoteJob(host, replace(request, token=self._record.token), self._record.folder)
        self._release: Callable[[], object] | None = release_device
        self._closing = threading.Event()
        self._fetching: threading.Thread | None = None
        self._fetched: Ended | None = None  # the result of the thread ``_fetching``
        self._is_stop_requested = False

    def poll(self) -> Ended | None:
        """The outcome; None while in progress. Also mirrors the run, unless another program mirrors it."""
        if self._fetching is not None:
            return None if self._fetching.is_alive() else self._collect_fetched()
        if self._is_stop_requested and self._job.is_unsent:
            return self._end(Ended("it was not started before the study was stopped."))
        try:
            progress = self._job.poll()
            self._record_folder()
        except MachineRefused as error:
            self._remove_record_if_unstarted()
            return self._end(Ended(str(error), requeue=True))
        except UserError as error:
            return self._fail(str(error))
        self.trouble = self._job.trouble
        try:
            return self._handle_progress(progress) if progress is not None else None
        except UserError as error:  # the local folder cannot be used; the run continues on its machine
            return self._end(Ended(str(error)))

    def request_stop(self) -> None:
        """Request the run to stop. Without a connection, the request is sent when the run is next followed."""
        self._is_stop_requested = True
        self._dir.ask("stop")
        if self._job.folder and self._host.state.kind == "ready":
            self._host.control(self._job.folder, "stop")

    def abandon(self) -> None:
        """Stop following the run, which continues; the next start of the study follows it again."""
        self._closing.set()

    def _record_folder(self) -> None:
        """Record the remote folder once the machine has confirmed it."""
        if self._job.folder and self._record.waiting:
            self._record = self._record.model_copy(update={"folder": self._job.folder, "waiting": False})
            write_record(self._dir, self._record)

    def _handle_progress(self, progress: RemoteStatus) -> Ended | None:
        state = progress.state
        self._remote.attach(self._dir)
        if state.alive:
            self._begun_before = False
            self.state = "measuring" if progress.note == EVALUATING else "training"
            self.trouble = progress.note if state is RunState.STARTING else self.trouble
            if not self._dir.config.exists() and self._dir.events.exists():
                self._fetch(self._fetch_config)
        elif state is RunState.DONE:
            self._fetch(self._fetch_measures)
        elif self._begun_before and not self._is_stop_requested:
            self._submit_again()
        elif state in (RunState.PAUSED, RunState.STOPPED):
            return self._end(Ended(f"it was {state.value} on {self._record.machine}; resume the study to continue it."))
        else:
            killed = state is RunState.INTERRUPTED and not progress.note.startswith("error: ")
            return self._fail(progress.note or f"it ended as {state.value}", killed)
        return None

    def _submit_again(self) -> None:
        """Submit a run again if it stopped early, or if there are new measures to evaluate."""
        self._begun_before = False
        self._record = self._record.model_copy(update={"token": secrets.token_hex(8), "folder": "", "waiting": True})
        write_record(self._dir, self._record)
        self._job = RemoteJob(self._host, replace(self._job.request, token=self._record.token))

    def _end(self, result: Ended) -> Ended:
        if self._release is not None:
            release_device, self._release = self._release, None
            release_device()
        self._remote.detach(self._dir)
        return result

    def _fail(self, problem: str, killed: bool = False) -> Ended:
        result = self._end(Ended(problem, killed=killed))
        self._remove_record_if_unstarted()
        return result

    def _remove_record_if_unstarted(self) -> None:
        """Forget the machine if no step was trained, so that the next start may choose another."""
        if not self._dir.events.exists():
            record_file(self._dir.path).unlink(missing_ok=True)

    def _fetch(self, action: Callable[[], Ended | None]) -> None:
        def run() -> None:
            try:
                self._fetched = action()
            except ConnectionLost:  # the study was stopped
                self._fetched = None
            except UserError as error:
                self._fetched = Ended(str(error))

        self._fetching = threading.Thread(target=run, name="study fetch", daemon=True)
        self._fetching.start()

    def _collect_fetched(self) -> Ended | None:
        self._fetching, outcome = None, self._fetched
        self._fetched = None
        if outcome is None:
            return None
        if outcome.problem:
            return self._fail(outcome.problem)
        if self._begun_before and self._out.missing_measures(self._study, self._run.arm, self._run.seed):
            self._submit_again()  # sent at the next poll, unless the study is stopping
            return None
        return self._end(outcome)

    def _fetch_config(self) -> None:
        config = fetch_file(self._host, self._job.folder, "config.json", 4 * MEGABYTE, self._closing.is_set)
        with writing(self._dir.config, UserError):
            write_whole(self._dir.config, config)

    def _fetch_measures(self) -> Ended:
        """Fetch config, events and finally the measures, since a run with measures counts as done."""
        if not self._dir.config.exists():
            self._fetch_config()
        measures = fetch_file(self._host, self._job.folder, RESULT, MAX_MEASURES_BYTES, self._closing.is_set)
        size = self._host.read(self._job.folder, "events.jsonl", 0, 1).result().size
        deadline = time.monotonic() + _MIRROR_WAIT_SECONDS
        while not self._is_mirrored(size) and time.monotonic() < deadline and not self._closing.is_set():
            time.sleep(0.1)
        path = self._out.measures(self._run.arm, self._run.seed)
        with writing(path, UserError):
            write_whole(path, measures)
        return Ended()

    def _is_mirrored(self, size: int) -> bool:
        """Whether all ``size`` bytes of events have arrived."""
        status = self._dir.read_status()
        mirrored = self._dir.events.stat().st_size if self._dir.events.exists() else 0
        return mirrored >= size and status is not None and status.verdict == RunState.DONE.value
