"""The state of a run from its events, its status and Slurm, case by case without a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from core.remote.job import Job, write_job
from core.remote.run_progress import WatchedRun
from core.remote.slurm import Slurm, SlurmError, SlurmJob
from core.spec.chain import Chain, ChainStage
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.events import Event, EventWriter, Lifecycle, RunFailed, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.starting import STARTING
from core.spec.run.status import RunStatus, own_status

NOW = 10_000.0
SLURM = Job(token="t", launcher="slurm", submitted=NOW - 1000, job="7")


class Cluster(Slurm):
    """A fake Slurm with the same answer for every job; records its calls."""

    def __init__(self, says: SlurmJob | str | None = None) -> None:
        super().__init__()
        self.says, self.heard = says, list[tuple[str, str]]()

    def job(self, job: str) -> SlurmJob | None:
        if isinstance(self.says, str):
            raise SlurmError(self.says)
        return self.says

    def cancel(self, job: str) -> None:
        self.heard.append(("cancel", job))

    def kill(self, job: str) -> None:
        self.heard.append(("hurry", job))


def started(ago: float, step: int = 0) -> RunStarted:
    return RunStarted(time=NOW - ago, step=step, total_steps=9, config_digest="x")


def finished(ago: float, outcome: str = "paused", step: int = 5) -> RunFinished:
    return RunFinished(time=NOW - ago, step=step, outcome=outcome)  # type: ignore[arg-type]


def write(run: RunDir, *events: Event) -> None:
    writer = EventWriter(run.events)
    for event in events:
        writer.write(event)
    writer.close()


def status(ago: float = 1.0, doing: str = "training", **more: object) -> RunStatus:
    """The status of this process as the trainer."""
    return replace(own_status(step=3, doing=doing), heartbeat=NOW - ago, **more)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.create()
    return run


def test_a_job_number_is_never_an_option_of_scancel(run: RunDir) -> None:
    """``scancel --me`` cancels all jobs of the user."""
    (run.path / "job.json").write_text('{"token": "t", "launcher": "slurm", "job": "--me"}')
    cluster = Cluster()
    with pytest.raises(UserError, match="job: String should match pattern"):
        WatchedRun(run, cluster).end(kill=False)
    assert cluster.heard == []


WAITS, RUNS = SlurmJob("PENDING"), SlurmJob("RUNNING", began=NOW - 500, nodes="n1")


UNKNOWN_JOB = "Slurm no longer knows job 7, and the run did not record an end; resume the run."


@pytest.mark.parametrize(
    ("says", "events", "state", "note"),
    [
        (None, [], "interrupted", UNKNOWN_JOB),
        (None, [started(900), finished(300)], "paused", ""),
        (None, [started(900), finished(1001.5)], "paused", ""),  # its times are whole seconds
        (None, [finished(1100)], "interrupted", UNKNOWN_JOB),
        (WAITS, [], "starting", "Slurm job 7 waits"),
        (WAITS, [finished(300)], "paused", ""),  # it was paused before Slurm took it out of the queue
        (WAITS, [finished(1100)], "starting", "Slurm job 7 waits"),  # of the job before
        (replace(WAITS, reason="Priority"), [], "starting", "Slurm job 7 waits because other jobs have priority"),
        (replace(WAITS, reason="Odd"), [], "starting", "Slurm job 7 waits (Odd)"),
        (replace(WAITS, restarts=1), [finished(300)], "starting", "requeued by Slurm; Slurm job 7 waits"),
        (replace(WAITS, expected=NOW + 20), [], "starting", "Slurm job 7 waits; the job should start in about 20 s"),
        (replace(WAITS, expected=NOW + 60), [], "starting", "Slurm job 7 waits; the job should start in about 1 min"),
        (replace(WAITS, expected=NOW + 9000), [], "starting",
         "Slurm job 7 waits; the job should start in about 2 h 30 min"),
        (replace(WAITS, expected=NOW - 1), [], "starting", "Slurm job 7 waits"),
        (RUNS, [started(400)], "running", ""),
        (RUNS, [started(503)], "starting", f"{STARTING} on n1 (Slurm job 7)"),  # that start was of the job before
        (RUNS, [started(400), finished(100)], "paused", ""),
        (RUNS, [finished(600)], "starting", f"{STARTING} on n1 (Slurm job 7)"),
        (replace(RUNS, nodes=""), [], "starting", f"{STARTING} on its node (Slurm job 7)"),
        (replace(RUNS, began=None), [started(900)], "running", ""),
        (replace(RUNS, began=None), [started(1100)], "starting", f"{STARTING} on n1 (Slurm job 7)"),
        (SlurmJob("TIMEOUT", began=NOW - 500), [started(400), finished(100)], "paused", ""),
        (SlurmJob("TIMEOUT", began=NOW - 500), [finished(900)], "paused", ""),  # ended before the job started
        (SlurmJob("CANCELLED", began=NOW - 500), [finished(1100)], "interrupted",
         "Slurm job 7 was cancelled in Slurm; resume the run from its last checkpoint."),
        (SlurmJob("TIMEOUT", began=NOW - 500, restarts=1), [finished(900)], "interrupted",
         "Slurm job 7 reached its time limit before the run could be saved; resume the run from its last checkpoint."),
        (SlurmJob("MELTED", began=NOW - 500), [started(400)], "interrupted",
         "Slurm job 7 ended as MELTED; resume the run from its last checkpoint."),
        (SlurmJob("FAILED", began=NOW - 500),
         [started(400), RunFailed(time=NOW - 300, step=2, error="ValueError", message="m")], "failed", ""),
    ],
)  # fmt: skip
def test_a_jobs_state_combines_slurm_and_its_events(
    run: RunDir, says: SlurmJob | None, events: Sequence[Event], state: str, note: str
) -> None:
    write_job(run, SLURM)
    write(run, *events)
    found = WatchedRun(run, Cluster(says)).progress(lambda: NOW)
    assert (found.state.value, found.note) == (state, note)
    assert found.job == "7"
    there = says is not None and (says.waiting or says.running)
    assert found.scheduler == (says.state if there and says else "")
    wanted = says.expected - NOW if there and says and says.expected else None
    assert found.expected == wanted


@pytest.mark.parametrize(("ago", "state"), [(5.0, "running"), (29.0, "running"), (31.0, "lost contact")])
def test_without_slurm_the_heartbeat_decides(run: RunDir, ago: float, state: str) -> None:
    write_job(run, SLURM)
    write(run, started(400))
    run.write_status(status(ago, pid=1 << 22, started=1.0))  # of a process on another node
    found = WatchedRun(run, Cluster("the controller is away.")).progress(lambda: NOW)
    assert (found.state.value, found.note, found.age) == (state, "the controller is away.", ago)


def test_a_resumed_trainer_without_an_event_is_starting(run: RunDir) -> None:
    mine = own_status(doing="reading data")
    now = mine.started + 10
    write(run, RunFinished(time=mine.started - 5, step=4, outcome="paused"))
    run.write_status(replace(mine, heartbeat=now))
    found = WatchedRun(run, Cluster()).progress(lambda: now)
    assert (found.state.value, found.note, found.step) == ("starting", "reading data", 4)
    write(run, RunStarted(time=mine.started + 1, step=4, total_steps=9, config_digest="x"))
    assert WatchedRun(run, Cluster()).progress(lambda: now).state.value == "running"


@pytest.mark.parametrize(
    ("working", "left", "said", "events", "state", "note"),
    [
        (True, False, "", [finished(9, "done")], "running", "evaluating"),
        (False, True, "", [finished(9, "done")], "done", ""),
        (False, False, "", [finished(9, "done")], "interrupted", "the process exited unexpectedly"),
        (False, False, "a\nerror: no room\nslurm: bye", [finished(9, "done")], "interrupted", "error: no room"),
        (False, False, "a\nb", [finished(9, "done")], "interrupted", "b"),
        (False, False, "", [RunFailed(time=NOW - 9, step=2, error="ValueError", message="m")], "failed",
         "the process exited unexpectedly"),
        (False, True, "", [finished(9, "paused")], "paused", ""),
        (False, True, "", [finished(9, "stopped")], "stopped", ""),
    ],
)  # fmt: skip
def test_a_study_task_is_done_when_its_program_wrote_a_result(
    run: RunDir, working: bool, left: bool, said: str, events: Sequence[Event], state: str, note: str
) -> None:
    mine = own_status()
    write_job(run, Job(token="t", result="result.json", pid=mine.pid, started=mine.started if working else 1.0))
    write(run, *events)
    run.stderr.write_text(said)
    if left:
        (run.path / "result.json").write_text("{}")
    found = WatchedRun(run, Cluster()).progress(lambda: NOW)
    assert (found.state.value, found.note) == (state, note)


@pytest.fixture
def stages(tmp_path: Path) -> list[RunDir]:
    """The run folders of a chain of two stages, not created."""
    folder = tmp_path / "chain"
    folder.mkdir()
    config = preset_config("clip", "tiny")
    chain = Chain(name="c", stages=[ChainStage(name="one", config=config), ChainStage(name="two", config=config)])
    (folder / "chain.json").write_text(chain.to_json())
    return [RunDir(folder / "stage-1-one"), RunDir(folder / "stage-2-two")]


def test_stages_that_have_not_started_and_the_last_of_a_chain(stages: list[RunDir]) -> None:
    last = stages[1]
    mine = own_status()
    at_work = Job(token="t", pid=mine.pid, started=mine.started)
    write_job(last, at_work.model_copy(update={"started": 1.0}))
    gone = WatchedRun(last, Cluster()).progress()
    assert (gone.state.value, gone.note) == (
        "interrupted",
        "The chain ended before this stage started; resume it to continue.",
    )
    write_job(last, at_work)
    coming = WatchedRun(last, Cluster()).progress()
    assert (coming.state.value, coming.note) == ("starting", "waiting for the previous stage to finish")
    for stage in stages:
        stage.create()
        write(stage, finished(9, "done"))
    found = [WatchedRun(stage, Cluster()).progress(lambda: NOW) for stage in stages]
    assert [one.state.value for one in found] == ["done", "done"]


def test_a_missing_run_folder_is_reported(tmp_path: Path) -> None:
    found = WatchedRun(RunDir(tmp_path / "gone"), Cluster()).progress()
    assert (found.state.value, found.note) == (
        "interrupted",
        f"The run folder {tmp_path / 'gone'} no longer exists on its machine.",
    )


def test_a_queued_job_is_cancelled_and_a_trainer_is_signalled(run: RunDir) -> None:
    write_job(run, SLURM)
    for what, outcome in (("stop", "stopped"), ("pause", "paused")):
        cluster = Cluster(WAITS)
        WatchedRun(run, cluster).request(what)
        assert cluster.heard == [("cancel", "7")]
        assert not run.control.exists()
        last = Lifecycle(run.events).read()
        assert isinstance(last, RunFinished)
        assert last.outcome == outcome
        run.events.unlink()
        cluster = Cluster(RUNS)
        WatchedRun(run, cluster).request(what)
        assert cluster.heard == []
        assert run.pending_request() == what
        run.clear_control()
    WatchedRun(run, Cluster(None)).request("stop")
    assert not run.control.exists(), "there is no process to signal"


def test_a_trainer_that_cleared_the_request_while_starting_is_asked_again(run: RunDir) -> None:
    write_job(run, SLURM)
    cluster = Cluster(RUNS)
    watched = WatchedRun(run, cluster)
    for what in ("pause", "stop"):
        watched.request(what)
        run.clear_control()  # as a trainer does when it begins
        watched.progress(lambda: NOW)
        assert run.pending_request() == what
    run.clear_control()
    write(run, started(400))
    watched.progress(lambda: NOW)
    assert not run.control.exists(), "it trains, so it has seen the request"
    cluster.says = None
    watched.progress(lambda: NOW)
    cluster.says, run.events = RUNS, run.path / "others.jsonl"
    watched = WatchedRun(run, cluster)
    watched.progress(lambda: NOW)
    assert not run.control.exists(), "a request ends with its run"
