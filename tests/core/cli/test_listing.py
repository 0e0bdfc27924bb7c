"""``runs list``: ended runs are cached, changed runs are read again, and a truncated list can be continued."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from core.cli import run_tables
from core.cli.homes import runs
from core.cli.run_tables import listed_rows, read_row
from core.spec.presets import preset_config
from core.spec.run.events import Evaluated, EventWriter, Metrics, RunFinished, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.status import RunStatus
from tests.core.cli.test_running import say

RECALL = "val/student/mean_recall"


def trained(home: Path, name: str, recall: float, ended: bool = True) -> RunDir:
    run = RunDir(home / "runs" / name)
    run.create()
    run.config.write_text(preset_config("clip", "tiny").to_json(), encoding="utf-8")
    writer = EventWriter(run.events)
    writer.write(RunStarted(step=0, total_steps=8, config_digest="d"))
    writer.write(Metrics(step=4, values={"train/loss": 1.0}))
    writer.write(Evaluated(step=4, values={RECALL: recall, "val/student/image_to_text_R@1": 0.1}))
    if ended:
        writer.write(RunFinished(step=8))
    writer.close()
    return run


def shown(home: Path) -> dict[str, tuple[str, int, int, float | None]]:
    rows = listed_rows(home, runs(home))
    return {row.name: (row.state, row.step, row.total_steps, row.best[1].best if row.best else None) for row in rows}


def test_finished_runs_are_read_once_and_changed_ones_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = trained(tmp_path, "one", 0.5), trained(tmp_path, "other", 0.25, ended=False)
    first = {"one": ("done", 8, 8, 0.5), "other": ("interrupted", 4, 8, 0.25)}
    assert shown(tmp_path) == first
    assert {name: read_row(run).best[1].best for name, run in (("one", one), ("other", other))} == {
        "one": 0.5,
        "other": 0.25,
    }, "the same as in the full row"
    read: list[str] = []
    full = run_tables.read_row

    def noted(run: RunDir, brief: bool = False) -> run_tables.RunRow:
        read.append(run.path.name)
        return full(run, brief)

    monkeypatch.setattr(run_tables, "read_row", noted)
    assert (shown(tmp_path), read) == (first, ["other"])
    read.clear()
    with closing(EventWriter(one.events)) as writer:
        writer.write(Evaluated(step=8, values={RECALL: 0.75}))
    other.write_status(RunStatus(pid=2**22 + 1, started=1.0, heartbeat=1.0, step=6, total_steps=8))
    assert shown(tmp_path) == {"one": ("done", 8, 8, 0.75), "other": ("interrupted", 6, 8, 0.25)}
    assert read == ["one", "other"]
    (tmp_path / "cache" / "listed-runs.json").write_text('{"a": 1}')
    assert shown(tmp_path)["one"] == ("done", 8, 8, 0.75), "an unreadable cache is replaced"


def test_a_folder_that_cannot_be_read_stops_no_list(tmp_path: Path) -> None:
    trained(tmp_path, "one", 0.5)
    other = trained(tmp_path, "other", 0.75)
    other.events.unlink()
    os.mkfifo(other.events)
    code, out, err = say("runs", "list", "--home", str(tmp_path))
    assert (code, [line.split()[:2] for line in out.splitlines()[1:]]) == (
        0,
        [["one", "done"], ["other", "unreadable"]],
    )
    assert "events.jsonl is a named pipe" in err
    [_, unreadable] = json.loads(say("runs", "list", "--json", "--home", str(tmp_path))[1])
    assert (unreadable["state"], "is a named pipe" in unreadable["note"]) == ("unreadable", True)


def test_a_folder_that_cannot_be_examined_does_not_hide_the_others(tmp_path: Path) -> None:
    for number in range(9):
        trained(tmp_path, f"run-{number}", 0.5)
        (tmp_path / "runs" / f"broken-{number}").symlink_to("x" * 300)  # too long a name
    assert len(runs(tmp_path)) == 9


def test_a_damaged_config_does_not_stop_the_report_of_another_experiment(tmp_path: Path) -> None:
    trained(tmp_path, "one", 0.5)
    trained(tmp_path, "other", 0.5).config.write_bytes(b"\xff")
    page = tmp_path / "page.md"
    arguments = ("--experiment", preset_config("clip", "tiny").name, "--output", str(page), "--home", str(tmp_path))
    code, _, err = say("runs", "report", *arguments)
    assert (code, page.is_file()) == (0, True), err


def test_the_name_of_a_run_folder_may_contain_an_at_sign(tmp_path: Path) -> None:
    run = trained(tmp_path, "one", 0.5)
    (moved := tmp_path / "a@b").mkdir()
    run.path.rename(moved / "one")
    code, _, err = say("continue", str(moved / "one"), "--home", str(tmp_path))
    assert (code, "there is no run" in err, "checkpoint" in err) == (1, False, True), err


def test_a_truncated_list_continues_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        trained(tmp_path, f"run-{number}", 0.1 * number)
    monkeypatch.setattr(run_tables, "_SAVE_EVERY", 2)
    read, full = list[str](), run_tables.read_row

    def killed(run: RunDir, brief: bool = False) -> run_tables.RunRow:
        if len(read) == 5:
            raise KeyboardInterrupt
        read.append(run.path.name)
        return full(run, brief)

    monkeypatch.setattr(run_tables, "read_row", killed)
    with pytest.raises(KeyboardInterrupt):
        listed_rows(tmp_path, runs(tmp_path))
    read.clear()
    assert len(shown(tmp_path)) == 7
    assert len(read) == 3, "four of five were cached"
