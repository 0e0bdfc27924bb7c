"""Watching run folders and sending alerts once, with real processes, a real command and a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from core.__main__ import main
from core.spec.alerts.evaluating import Alert
from core.spec.alerts.log import ALERTS_FILE, AlertLog
from core.spec.alerts.rules import AlertRules, Rules
from core.spec.alerts.sending import send
from core.spec.alerts.watching import RunAlert, Watcher, replay
from core.spec.presets import preset_config
from core.spec.run.events import Event, EventWriter, Metrics, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.processes import start_time
from core.spec.run.status import RunStatus

NOW = 1.7e9


def clock(process: subprocess.Popen[bytes]) -> float:
    """A second after the process started."""
    return start_time(process.pid) + 1.0


def run_of(home: Path, process: subprocess.Popen[bytes], *events: Event) -> RunDir:
    now = clock(process)
    run = RunDir(home / "runs" / "one")
    run.create()
    run.config.write_text(preset_config("clip", "tiny").to_json())
    write(run, RunStarted(step=0, total_steps=9, config_digest="d", time=now), *events)
    run.write_status(RunStatus(process.pid, start_time(process.pid), now, doing="training"))
    return run


def write(run: RunDir, *events: Event) -> None:
    with closing(EventWriter(run.events)) as writer:
        for event in events:
            writer.write(event)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_a_trainer_that_was_ended_as_requested_does_not_alert(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    now = clock(process)
    run = run_of(tmp_path, process, Metrics(step=1, values={"train/loss": 1.0}, time=now + 1))
    watcher = Watcher(tmp_path)
    watcher.add(run, now + 2)
    run.ask("stop")
    process.kill()
    process.wait()
    assert (watcher.poll(now + 4), watcher.watched) == ([], [])


def test_a_killed_trainer_alerts_at_the_next_poll_once_across_programs(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    now = clock(process)
    run = run_of(tmp_path, process, Metrics(step=1, values={"train/loss": 1.0}, time=now + 1))
    ours, other = Watcher(tmp_path), Watcher(tmp_path)
    for watcher in (ours, other):
        watcher.add(run, now + 2)
        assert watcher.poll(now + 2) == []
    process.kill()
    process.wait()
    assert [alert.sentence for alert in ours.poll(now + 4)] == ["Run one exited unexpectedly after step 1."]
    assert (ours.poll(now + 6), ours.watched, other.poll(now + 6)) == ([], [], [])
    later = Watcher(tmp_path)
    later.add(run, now + 8)
    assert later.poll(now + 8) == []
    assert [alert.alert.cause for alert in replay([run], AlertRules())] == ["failed"]


def test_a_finished_run_is_not_reported_as_killed(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    now = clock(process)
    run = run_of(tmp_path, process)
    watcher = Watcher(tmp_path)
    watcher.add(run, now)
    assert watcher.poll(now + 2) == []
    write(run, RunFinished(step=9, time=now + 3))
    process.kill()
    process.wait()
    assert [alert.alert.cause for alert in watcher.poll(now + 4)] == ["ended"]


def test_silence_is_a_stall_unless_the_status_changes_or_the_computer_slept(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    now = clock(process)
    run = run_of(tmp_path, process, *(Metrics(step=n, values={}, time=now + n) for n in range(1, 20)))
    status = run.read_status()
    assert status is not None
    watcher = Watcher(tmp_path)
    watcher.add(run, now + 20)
    seconds, causes = 20.0, list[tuple[float, str]]()

    def wait(until: float, doing: str) -> None:
        nonlocal seconds
        while seconds < until:
            seconds += 5
            run.write_status(RunStatus(status.pid, status.started, now + seconds, 8, doing=doing.format(seconds)))
            causes.extend((seconds, alert.alert.cause) for alert in watcher.poll(now + seconds))

    wait(2000, "validating {:.0f}/9000")
    seconds = 9000.0  # asleep
    wait(9500, "training")
    assert causes == []
    wait(11000, "training")
    assert causes == [(9610.0, "stalled")]


def test_rules_and_commands_in_a_run_folder_are_ignored(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    now = clock(process)
    run = run_of(tmp_path, process)
    planted = json.dumps({"defaults": {"command": ["touch", str(tmp_path / "planted")], "url": "http://127.0.0.1:9"}})
    for folder in (run.path, run.path.parent):
        (folder / "alerts.json").write_text(planted)
    write(run, RunFinished(step=9, time=now + 3))
    watcher = Watcher(tmp_path)
    watcher.add(run, now)
    [alert] = watcher.poll(now)
    assert alert.rules == AlertRules()
    assert (send(alert), (tmp_path / "planted").exists()) == ([], False)


ALERT = Alert("failed", 'failed at step 3: "; touch planted"', 3, NOW)


def test_a_command_gets_the_message_as_one_argument_and_json_on_stdin_and_its_failure_is_reported(
    tmp_path: Path,
) -> None:
    program = f"import sys; open({str(tmp_path / 'said')!r}, 'w').write(sys.argv[1] + '\\n' + sys.stdin.read())"
    rules = AlertRules(command=(sys.executable, "-c", program))
    run = RunDir(tmp_path / "--evil")
    assert send(RunAlert(run, ALERT, rules)) == []
    sentence, content = (tmp_path / "said").read_text().splitlines()
    assert sentence == 'Run --evil failed at step 3: "; touch planted".'
    assert json.loads(content)["text"] == sentence
    assert json.loads(content)["cause"] == "failed"
    [missing] = send(RunAlert(run, ALERT, AlertRules(command=("no-such-program",))))
    assert missing.startswith("The alert command no-such-program cannot be run: ")
    program = (sys.executable, "-c", "import sys; sys.exit('no such channel')")
    [failed] = send(RunAlert(run, ALERT, AlertRules(command=program)))
    assert failed.endswith("exited with status 1: no such channel.")


@pytest.fixture
def server() -> Iterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            moved = self.path == "/moved"
            self.send_response(302 if moved else 200)
            if moved:
                self.send_header("Location", "/hook")
            self.end_headers()

        def do_GET(self) -> None:  # a followed redirect
            bodies.append(b"")
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
        thread.join()


def test_a_webhook_receives_json_and_no_redirect_is_followed(tmp_path: Path, server: tuple[str, list[bytes]]) -> None:
    address, bodies = server
    run = RunDir(tmp_path / "one")
    assert send(RunAlert(run, ALERT, AlertRules(url=f"{address}/hook"))) == []
    assert json.loads(bodies[0])["run"] == "one"
    host = address.removeprefix("http://")
    moved = send(RunAlert(run, ALERT, AlertRules(url=f"{address}/moved")))
    assert (moved, len(bodies)) == ([f"The alert address {host} answered with status 302."], 2)


def test_a_dry_run_uses_the_rules_of_each_experiment(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    now = clock(process)
    run = run_of(tmp_path, process, RunFinished(step=9, time=now + 3))
    rules = Rules(tmp_path / "alerts.json")
    assert [(alert.alert.cause, alert.alert.time) for alert in replay([run], rules)] == [("ended", now + 3)]
    rules.save(preset_config("clip", "tiny").name, AlertRules(ended=False))
    assert replay([run], rules) == []


def test_the_command_prints_alerts_of_a_run_until_it_ends(
    tmp_path: Path,
    process: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_of(tmp_path, process)
    add = Watcher.add

    def add_and_finish(watcher: Watcher, run: RunDir) -> None:
        add(watcher, run)
        write(run, RunFinished(step=9))

    monkeypatch.setattr(Watcher, "add", add_and_finish)
    assert main(["runs", "watch", "one", "--home", str(tmp_path), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["run"] == "one"


RUN = Path("/runs/one")


def test_an_alert_after_a_line_that_a_killed_program_did_not_finish_is_sent_once(tmp_path: Path) -> None:
    stalled, failed = Alert("stalled", "No step for 9 minutes.", 3, 1.7e9), Alert("failed", "Failed.", 5, 1.7e9)
    assert AlertLog(tmp_path).claim(RUN, stalled)
    with (tmp_path / ALERTS_FILE).open("ab") as file:
        file.write(b'{"run": "/runs/one", "key": "fai')
    assert AlertLog(tmp_path).claim(RUN, failed)
    another = AlertLog(tmp_path)
    assert [another.claim(RUN, alert) for alert in (stalled, failed)] == [False, False]
