"""One run of a study on another machine, answer by answer: handed over, found again, measured, given up, forgotten."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.spec.errors import UserError
from core.spec.machines.answers import Chunk, RemoteStatus, Submitted
from core.spec.machines.record import RemoteRecord, read_record, record_file, write_record
from core.spec.machines.ssh import ConnectionLost, MachineRefused
from core.spec.run.folder import RunDir
from core.spec.run.status import RunState
from core.spec.study import StudyDir
from core.spec.study.folder import StudyRun
from core.studies.study.places import remote_training
from core.studies.study.places.place import Ended
from core.studies.study.places.remote_training import RemoteTraining
from tests.core.studies.study.test_remote_place import ORDER, Asked

THERE = "/there/a-s0"


class Far(Asked):
    """A machine with files, which are given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes | UserError] = {
            "config.json": b'{"a": 1}', "exports/measures.json": b'{"networks": {}}', "events.jsonl": b"",
        }  # fmt: skip

    def read(self, folder: str, file: str, offset: int, length: int, timeout: float = 0.0) -> Future[Any]:
        self.heard.append(("read", folder, file))
        found: Future[Any] = Future()
        data = self.files[file]
        if isinstance(data, UserError):
            found.set_exception(data)
        else:
            part = data[offset : offset + length]
            found.set_result(Chunk.model_construct(data=part, size=len(data), stamp=1))
        return found

    def control(self, folder: str, what: str) -> Future[Any]:
        self.heard.append(("control", folder, what))
        return Future()


class Mirrors:
    """What is followed here of runs elsewhere."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def attach(self, run: RunDir) -> None:
        self.did.append("attach")

    def detach(self, run: RunDir) -> None:
        self.did.append("detach")


class Parts:
    """A run, its machine, and what became of its device."""

    def __init__(self, folder: Path) -> None:
        self.out, self.far, self.mirrors, self.freed = StudyDir(folder), Far(), Mirrors(), list[None]()
        self.dir = self.out.run("a", 0)

    def begin(self) -> RemoteTraining:
        run = StudyRun(arm="a", seed=0, folder="runs/a-s0")
        begun: Any = RemoteTraining
        found: RemoteTraining = begun(
            self.mirrors, self.far, SimpleNamespace(), self.out, run, ORDER, lambda: self.freed.append(None)
        )
        self.training = found
        return found

    def found_again(self) -> RemoteTraining:
        """It was begun when the study ran before."""
        self.dir.create()
        write_record(self.dir, RemoteRecord(machine="far", folder=THERE, token="old", study=True))
        return self.begin()

    def hears(self, answer: object) -> Ended | None:
        """Ask, be answered, and take what follows."""
        assert self.training.poll() is None
        if isinstance(answer, Exception):
            self.far.future.set_exception(answer)
        else:
            self.far.future.set_result(answer)
        return self.training.poll()

    def stands(self, state: RunState, note: str = "") -> Ended | None:
        return self.hears(RemoteStatus(folder=THERE, state=state, note=note))

    def fetched(self) -> Ended | None:
        fetching = self.training._fetching
        assert fetching is not None
        fetching.join(60)
        return self.training.poll()

    @property
    def record(self) -> RemoteRecord | None:
        return read_record(self.dir)


def test_a_local_folder_that_cannot_be_used_fails_only_its_run(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    def unusable(run: RunDir) -> None:
        raise UserError(f"cannot write the run folder {run.path}.")

    parts.begin()
    monkeypatch.setattr(parts.mirrors, "attach", unusable)
    parts.hears(Submitted(folder=THERE))
    assert parts.stands(RunState.RUNNING) == Ended(f"cannot write the run folder {parts.dir.path}.")
    assert len(parts.freed) == 1
    assert parts.record is not None, "it continues on its machine"


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parts:
    monkeypatch.setattr(remote_training, "_MIRROR_WAIT_SECONDS", 0.0)
    return Parts(tmp_path / "out")


@pytest.mark.parametrize(
    ("state", "note", "problem"),
    [
        (RunState.PAUSED, "", "it was paused on far; resume the study to continue it."),
        (RunState.STOPPED, "x", "it was stopped on far; resume the study to continue it."),
        (RunState.INTERRUPTED, "error: no room", "error: no room"),
    ],
)
@pytest.mark.parametrize("trained", [False, True])
def test_outcomes_of_a_run_without_measures(
    parts: Parts, state: RunState, note: str, problem: str, trained: bool
) -> None:
    parts.begin()
    parts.hears(Submitted(folder=THERE))
    if trained:
        parts.dir.events.write_bytes(b"{}\n")
    assert parts.stands(state, note) == Ended(problem)
    assert (len(parts.freed), parts.mirrors.did) == (1, ["attach", "detach"])
    kept = trained or state in (RunState.PAUSED, RunState.STOPPED)
    assert record_file(parts.dir.path).exists() is kept, "what has not trained a step may be begun elsewhere"


@pytest.mark.parametrize("note", ["", "evaluating val of the student"])
def test_a_killed_trainer_is_reported_as_killed_and_resumes_on_its_machine(parts: Parts, note: str) -> None:
    parts.begin()
    parts.hears(Submitted(folder=THERE))
    parts.dir.events.write_bytes(b"{}\n")
    assert parts.stands(RunState.INTERRUPTED, note) == Ended(note or "it ended as interrupted", killed=True)
    parts.begin()
    assert parts.stands(RunState.INTERRUPTED) is None
    assert parts.hears(Submitted(folder=THERE)) is None
    assert parts.far.heard[-1][0] == "submit"


@pytest.mark.parametrize(
    ("refusal", "ended"),
    [
        (MachineRefused("It has no Python."), Ended("It has no Python.", requeue=True)),
        (UserError("There is no room."), Ended("There is no room.")),
    ],
)
def test_a_refusing_machine_is_skipped(parts: Parts, refusal: UserError, ended: Ended) -> None:
    parts.begin()
    assert parts.hears(refusal) == ended
    assert len(parts.freed) == 1
    assert parts.record is None


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.FAILED])
def test_a_run_that_ended_meanwhile_is_resubmitted_once(parts: Parts, state: RunState) -> None:
    parts.found_again()
    assert parts.stands(state) is None
    record = parts.record
    assert record is not None
    assert (record.folder, record.waiting) == ("", True)
    assert record.token not in ("old", "t")
    assert parts.hears(Submitted(folder=THERE)) is None
    assert parts.far.heard[-1] == ("submit", "s", ["run", "a", "0", "9"], record.token, ["1"])
    assert parts.freed == []
    assert parts.stands(RunState.FAILED, "again") == Ended("again")


@pytest.mark.parametrize("missing", [[], ["a measure"]])
def test_a_finished_run_is_resubmitted_only_for_new_measures(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, missing: list[str]
) -> None:
    monkeypatch.setattr(parts.out, "missing_measures", lambda study, arm, seed: missing)
    parts.found_again()
    assert parts.stands(RunState.DONE) is None
    ended = parts.fetched()
    record = parts.record
    assert record is not None
    assert (ended, record.waiting) == ((None, True) if missing else (Ended(), False))
    if missing:
        parts.hears(Submitted(folder=THERE))
        assert parts.stands(RunState.DONE) is None
        assert parts.fetched() == Ended(), "it is not measured for ever"


def test_an_unconfirmed_submission_is_repeated_with_the_same_token(parts: Parts) -> None:
    parts.dir.create()
    write_record(parts.dir, RemoteRecord(machine="far", token="first", waiting=True, devices=["7"]))
    parts.begin()
    parts.training.poll()
    assert parts.far.heard == [("submit", "s", ["run", "a", "0", "9"], "first", ["1"])]


def test_unfetchable_measures_fail_the_run_and_a_disconnect_does_not(parts: Parts) -> None:
    training = parts.begin()
    parts.hears(Submitted(folder=THERE))
    training.abandon()
    parts.far.files["exports/measures.json"] = ConnectionLost("The line is down.")
    assert parts.stands(RunState.DONE) is None
    assert parts.fetched() is None, "it goes on there, and is found the next time"
    assert parts.freed == []
    assert training._fetching is None
    parts.far.files["exports/measures.json"] = UserError("They are no longer there.")
    assert parts.hears(RemoteStatus(folder=THERE, state=RunState.DONE)) is None
    assert parts.fetched() == Ended("They are no longer there.")
    assert len(parts.freed) == 1
    assert not parts.out.measures("a", 0).exists()
