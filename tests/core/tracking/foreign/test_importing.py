import json
import os
import shutil
import sqlite3
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cli.run_tables import read_row
from core.spec.children import python_command
from core.spec.errors import UserError
from core.spec.run.events import EventReader, EventWriter, Log, Metrics, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.logged import LoggedConfig, read_logged
from core.tracking.foreign import finding, importing
from core.tracking.foreign.importing import import_runs
from core.tracking.foreign.tensorboard import masked_crc
from tests.core.tracking.foreign.hostile_logs import record, scalar

PEERS = Path(__file__).parent / "peers"
Points = dict[str, list[tuple[int, float, float]]]


def peer(name: str, folder: Path) -> Path:
    """The logs of a tool, copied; SQL becomes SQLite."""
    shutil.copytree(PEERS / name, folder)
    for sql in folder.glob("*.sql"):
        connection = sqlite3.connect(sql.with_suffix(".db"))
        connection.executescript(sql.read_text())
        connection.close()
        sql.unlink()
    return folder


def imported(source: Path, home: Path, **settings: Any) -> dict[str, RunDir]:
    """Run folders by the name of their run, after an import that reports no problem."""
    problems = []
    import_runs(source, home / "runs", False, lambda _importer, problem: problems.append(problem) if problem else None)
    assert problems == settings.get("problems", [])
    return {config(run).name: run for folder in (home / "runs").iterdir() for run in [RunDir(folder)]}


def config(run: RunDir) -> LoggedConfig:
    logged = read_logged(run.config)
    assert logged is not None
    return logged


def points(run: RunDir) -> Points:
    """What curves show: every point by metric, without those that a restart voids."""
    values: Points = {}
    for event in EventReader(run.events).read_all():
        if isinstance(event, RunStarted):
            values = {name: [point for point in line if point[0] <= event.step] for name, line in values.items()}
        elif isinstance(event, Metrics):
            for name, value in event.values.items():
                values.setdefault(name, []).append((event.step, value, event.time))
    return {name: line for name, line in values.items() if line}


def warnings(run: RunDir) -> list[str]:
    return [event.message for event in EventReader(run.events).read_all() if isinstance(event, Log)]


def equal(ours: Points, theirs: dict[str, list[list[Any]]], seconds: float = 0.01, digits: float = 0.0) -> None:
    assert sorted(ours) == sorted(theirs)
    for name, line in theirs.items():
        assert [step for step, _, _ in ours[name]] == [step for step, _, _ in line], name
        for (_, value, moment), (_, expected, expected_moment) in zip(ours[name], line, strict=True):
            assert value == pytest.approx(expected, rel=digits, abs=digits, nan_ok=True), name
            assert expected_moment is None or abs(moment - expected_moment) < seconds


def theirs(name: str) -> Any:
    return json.loads((PEERS / name / "points.json").read_text())


def test_tensorboard_files_give_the_points_that_tensorboard_shows(tmp_path: Path) -> None:
    run = imported(peer("tensorboard", tmp_path / "logs"), tmp_path)["log"]
    equal(points(run), theirs("tensorboard"))
    assert (config(run).config, config(run).project) == ({"lr": 0.001, "name": "a", "on": True}, "logs")
    assert read_row(run).state == "done"


def test_wandb_files_give_the_points_that_were_logged(tmp_path: Path) -> None:
    run = imported(peer("wandb", tmp_path / "wandb"), tmp_path)["baseline"]
    equal(points(run), theirs("wandb"))
    logged = config(run)
    assert (logged.config, logged.project) == ({"lr": 0.001, "model": {"width": 8}}, "cifar")
    assert (logged.tags, read_row(run).state) == (["first", "second"], "done")


@pytest.mark.parametrize(("store", "source"), [("files", "mlruns"), ("sqlite", "mlflow.db")])
def test_mlflow_stores_give_the_points_that_its_client_returns(tmp_path: Path, store: str, source: str) -> None:
    run = imported(peer("mlflow", tmp_path / "logs") / source, tmp_path)["baseline"]
    equal(points(run), theirs("mlflow")[store])
    logged = config(run)
    assert ({name: float(value) for name, value in logged.config.items()}, logged.project) == (
        {"lr": 0.001, "width": 8},
        "cifar",
    )
    assert (sorted(logged.tags), read_row(run).state) == (["seen", "team=vision"], "done")


def test_trackio_projects_give_the_points_that_trackio_returns(tmp_path: Path) -> None:
    run = imported(peer("trackio", tmp_path / "logs"), tmp_path)["baseline"]
    expected = theirs("trackio")
    for line in expected.values():
        line[:] = [[step, value, None] for step, value, _ in line]
    equal(points(run), expected)
    assert (config(run).config, config(run).project) == ({"lr": 0.001, "model": {"width": 8}}, "cifar")


def test_lightnings_csv_is_imported_and_continues_after_it_was_rewritten(tmp_path: Path) -> None:
    source = peer("lightning", tmp_path / "logs") / "exp" / "version_0" / "metrics.csv"
    whole = source.read_text()
    source.write_text("step,train/loss\n0,1.0\n1,0.5\n")  # before a new metric rewrote the header
    imported(source, tmp_path)
    source.write_text(whole)
    (run,) = imported(source, tmp_path).values()
    equal(points(run), theirs("lightning"))


def test_trainer_states_give_their_history_once(tmp_path: Path) -> None:
    source = peer("transformers", tmp_path / "out")
    shutil.move(source / "checkpoint-8", tmp_path / "later")
    (run,) = imported(source, tmp_path).values()
    assert read_row(run).state == "interrupted" or read_row(run).state == "running"
    shutil.move(tmp_path / "later", source / "checkpoint-8")
    (run,) = imported(source, tmp_path).values()
    expected = {
        name.replace("_", "/", 1) if name.startswith("eval_") else f"train/{name}": line
        for name, line in theirs("transformers").items()
    }
    equal(points(run), expected)
    assert read_row(run).state == "done"


def test_open_clips_logs_give_its_metrics_at_its_steps(tmp_path: Path) -> None:
    run = imported(peer("open_clip", tmp_path / "logs"), tmp_path)["demo"]
    expected = {name: line for name, line in theirs("open_clip").items() if name in points(run)}
    assert {"train/loss", "train/lr", "train/scale", "val/clip_val_loss", "val/image_to_text_R@1"} <= expected.keys()
    assert {name for name in points(run) if name not in expected} == set()
    equal(points(run), expected, digits=1e-3)  # the log is rounded
    assert config(run).config["batch_size"] == 2


# Continuing
def test_a_partial_record_is_waited_for_and_nothing_is_read_twice(tmp_path: Path) -> None:
    source = peer("tensorboard", tmp_path / "logs")
    (file,) = (source / "log").iterdir()
    whole = file.read_bytes()
    for size in (len(whole) // 2, len(whole) // 2 + 7, len(whole), len(whole)):
        file.write_bytes(whole[:size])
        run = imported(source, tmp_path)["log"]
    equal(points(run), theirs("tensorboard"))
    assert warnings(run) == []
    assert finding.find_runs(run.path) == [], "our own runs are no tables"


def test_an_import_killed_before_recording_its_position_duplicates_nothing(tmp_path: Path) -> None:
    source = peer("wandb", tmp_path / "wandb")
    run = imported(source, tmp_path)["baseline"]
    writer = EventWriter(run.events)
    writer.write(Metrics(step=3, values={"train/loss": 9.0}))
    writer.close()
    equal(points(imported(source, tmp_path)["baseline"]), theirs("wandb"))


def test_json_lines_are_imported_and_a_replaced_source_again(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "name": "x"}\nbroken\n{"step": 2, "loss": NaN}\n')
    (run,) = imported(tmp_path / "metrics.jsonl", tmp_path / "jsonl").values()
    assert [(step, str(value)) for step, value, _ in points(run)["loss"]] == [(1, "0.5"), (2, "nan")]
    (tmp_path / "m.csv").write_text("step,loss\n1,1\n2,2\n")
    imported(tmp_path / "m.csv", tmp_path)
    (tmp_path / "m.csv").write_text("step,loss\n1,5\n")
    (run,) = imported(tmp_path / "m.csv", tmp_path).values()
    assert [(step, value) for step, value, _ in points(run)["loss"]] == [(1, 5.0)]


def test_points_after_a_restart_replace_those_before_it(tmp_path: Path) -> None:
    restart = b"\x09" + struct.pack("<d", 1.7e9) + b"\x10\x02\x3a\x02\x08\x01"  # SessionLog START at step 2
    events = [scalar(1, 1.0), scalar(2, 2.0), scalar(3, 3.0), restart, scalar(2, 5.0)]
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "events.out.tfevents.1").write_bytes(b"".join(map(record, events)))
    (run,) = imported(tmp_path / "log", tmp_path).values()
    assert [(step, value) for step, value, _ in points(run)["loss"]] == [(1, 1.0), (2, 5.0)]


# Untrusted files
@pytest.mark.parametrize("count", [5, 100])  # records whose checksums are checked one by one, or together
@pytest.mark.parametrize("broken_byte", [2, 9, 20, -1])  # in the length, its checksum, the payload, its checksum
def test_a_corrupted_event_is_skipped_and_counted(tmp_path: Path, broken_byte: int, count: int) -> None:
    records = [record(scalar(step, float(step))) for step in range(count)]
    damaged = bytearray(records[2])
    damaged[broken_byte] ^= 0xFF
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "events.out.tfevents.1").write_bytes(b"".join([*records[:2], bytes(damaged), *records[3:]]))
    (run,) = imported(tmp_path / "log", tmp_path).values()
    assert [step for step, _, _ in points(run)["loss"]] == [0, 1, *range(3, count)]
    assert warnings(run) == ["Skipped corrupted records in events.out.tfevents.1: 1."]


def test_a_corrupted_block_of_wandb_is_skipped_and_counted(tmp_path: Path) -> None:
    source = peer("wandb", tmp_path / "wandb")
    (file,) = source.rglob("*.wandb")
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    first_block = bytes(content).ljust(32768, b"\0")
    content = bytearray(first_block + first_block[7:] + bytes(7))
    content[middle] ^= 0xFF
    file.write_bytes(content)
    (run,) = imported(source, tmp_path).values()
    assert 8 < len(points(run)["val/acc"]) < 16
    assert len(warnings(run)) == 1
    assert "corrupted records in run-" in warnings(run)[0]


def test_a_record_of_a_hostile_length_allocates_nothing(tmp_path: Path) -> None:
    length = struct.pack("<Q", 1 << 60)
    hostile = length + struct.pack("<I", masked_crc(length))
    (tmp_path / "log").mkdir()
    file = tmp_path / "log" / "events.out.tfevents.1"
    file.write_bytes(record(scalar(1, 1.0)) + hostile + bytes(100) + record(scalar(2, 2.0)))
    (run,) = imported(tmp_path / "log", tmp_path).values()
    assert [step for step, _, _ in points(run)["loss"]] == [1, 2]


def test_pipes_and_links_out_of_the_tree_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "events.out.tfevents.1").write_bytes(record(scalar(1, 1.0)))
    (secret / "metrics.csv").write_text("step,loss\n1,1\n")
    logs = tmp_path / "logs"
    (logs / "a").mkdir(parents=True)
    (logs / "a" / "events.out.tfevents.1").symlink_to(secret / "events.out.tfevents.1")
    (logs / "linked").symlink_to(secret)
    for name in ("metrics.csv", "mlflow.db", "run-x.wandb", "trainer_state.json", "meta.yaml", "params.txt"):
        (logs / name).symlink_to(secret / "metrics.csv")
    (logs / "out.log").write_text("a log of open_clip")
    os.mkfifo(logs / "events.out.tfevents.2")
    os.mkfifo(logs / "x.jsonl")
    assert finding.find_runs(logs) == []
    with pytest.raises(UserError, match="contains no run of another tool"):
        imported(logs, tmp_path)


def test_events_that_link_out_of_a_run_folder_are_not_cut(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("step,loss\n1,1\n")
    (run,) = imported(tmp_path / "m.csv", tmp_path).values()
    secret = tmp_path / "secret"
    secret.write_bytes(run.events.read_bytes() + b"more of it")
    before = secret.read_bytes()
    run.events.unlink()
    run.events.symlink_to(secret)
    problems: list[str] = []
    import_runs(tmp_path / "m.csv", tmp_path / "runs", False, lambda _run, problem: problems.append(problem))
    assert [problem for problem in problems if "is a link out of" in problem]
    assert secret.read_bytes() == before


def test_artifacts_of_mlflow_are_neither_opened_nor_walked(tmp_path: Path) -> None:
    source = peer("mlflow", tmp_path / "logs") / "mlruns"
    (meta,) = source.glob("*/*/meta.yaml")
    meta.write_text(meta.read_text().replace("artifact_uri: ", "artifact_uri: http://127.0.0.1:1/"))
    artifacts = meta.parent / "artifacts"
    artifacts.mkdir(exist_ok=True)
    os.mkfifo(artifacts / "events.out.tfevents.1")
    (artifacts / "metrics.csv").write_text("step,loss\n1,1\n")
    assert list(imported(source, tmp_path)) == ["baseline"]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE VIEW metrics AS SELECT 1 AS id, 'x' AS run_name, 1 AS step, '2024' AS timestamp, '{}' AS metrics",
        "CREATE TABLE metrics (id, run_name, step, timestamp,"
        " metrics TEXT GENERATED ALWAYS AS (hex(zeroblob(1000000000))))",
    ],
)
def test_code_in_a_schema_is_not_run(tmp_path: Path, sql: str) -> None:
    connection = sqlite3.connect(tmp_path / "project.db")
    connection.execute(sql)
    connection.close()
    assert finding.find_runs(tmp_path) == []


def test_a_database_is_not_written_to_and_its_journal_is_read(tmp_path: Path) -> None:
    source = peer("trackio", tmp_path / "logs")
    file = source / "cifar.db"
    before = file.read_bytes()
    imported(source, tmp_path)
    assert file.read_bytes() == before
    assert sorted(path.name for path in source.iterdir()) == ["cifar.db", "points.json"]
    writer = sqlite3.connect(file)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute(
        "INSERT INTO metrics (run_id, timestamp, run_name, step, metrics)"
        " SELECT run_id, timestamp, run_name, 99, '{\"val/acc\": 0.5}' FROM metrics LIMIT 1"
    )
    writer.commit()
    copy = tmp_path / "copy"  # without the shared index of the journal
    copy.mkdir()
    for name in ("cifar.db", "cifar.db-wal"):
        shutil.copy(source / name, copy)
    contents = {path.name: path.read_bytes() for path in copy.iterdir()}
    try:
        for folder in (source, copy):
            (run,) = imported(folder, tmp_path / f"home of {folder.name}").values()
            assert points(run)["val/acc"][-1][:2] == (99, 0.5)
    finally:
        writer.close()
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == contents


@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=400), cut=st.integers(0, 5000))
def test_no_bytes_crash_a_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    (file,) = (PEERS / "wandb").rglob("*.wandb")
    (folder / "run-x.wandb").write_bytes(file.read_bytes()[: 7 + cut] + data)
    (folder / "log").mkdir()
    (folder / "log" / "events.out.tfevents.1").write_bytes(record(scalar(1, 1.0)) + record(data) + data)
    (folder / "t").mkdir()
    (folder / "t" / "m.csv").write_bytes(b"step,loss\n" + data + b"\n")
    (folder / "t" / "m.jsonl").write_bytes(b'{"step": 1}\n' + data + b"\n")
    (folder / "h").mkdir()
    (folder / "h" / "trainer_state.json").write_bytes(b'{"log_history": [' + data + b"]}")
    (folder / "db").mkdir()
    (folder / "db" / "x.db").write_bytes(b"SQLite format 3\0" + data)
    for run in finding.find_runs(folder):
        list(finding.reader_of(run).read(run, {}))
    shutil.rmtree(folder)


# The verb
def test_following_imports_new_points_until_the_run_ends(tmp_path: Path) -> None:
    source = peer("mlflow", tmp_path / "logs") / "mlruns"
    (meta,) = source.glob("*/*/meta.yaml")
    finished = meta.read_text()
    meta.write_text(finished.replace("status: 3", "status: 1"))
    command = [*python_command("core"), "runs", "import", str(source), "--follow", "--home", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        run = RunDir(first.split()[-1])
        assert read_row(run).state == "running"
        with (meta.parent / "metrics" / "val" / "acc").open("a") as file:
            file.write(f"{int(time.time() * 1000)} 0.75 50\n")
        while points(run)["val/acc"][-1][:2] != (50, 0.75):
            time.sleep(0.1)
        meta.write_text(finished)
        assert process.wait() == 0
    finally:
        process.kill()
        process.stdout.close()
    assert read_row(run).state == "done"


def test_following_searches_a_large_folder_during_several_polls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_SEARCH_SECONDS", -1.0)  # one folder per poll
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.out.tfevents.1").write_bytes(record(scalar(1, 1.0)))
    polls = importing._search_again(tmp_path)
    names = [[run.name for run in next(polls)] for _ in range(14)]
    assert names == [*4 * [[]], [], ["a"], ["b"], ["c"], [], *4 * [[]], []]
    shutil.rmtree(tmp_path)
    assert [next(polls) for _ in range(8)] == 8 * [[]], "a deleted folder may come back"

    def vanish(source: Path) -> list[Any]:
        raise FileNotFoundError(2, "No such file or directory", "checkpoint-5/trainer_state.json")

    monkeypatch.setattr(importing, "search_folders", vanish)
    assert [next(polls) for _ in range(8)] == 8 * [[]], "a trainer removes old checkpoints"


def test_an_unreadable_run_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / "logs" / name).mkdir(parents=True)
        (tmp_path / "logs" / name / "events.out.tfevents.1").write_bytes(record(scalar(1, 1.0)))
    (first, _) = imported(tmp_path / "logs", tmp_path).values()
    with first.claim():
        problems: list[str] = []
        import_runs(tmp_path / "logs", tmp_path / "runs", False, lambda _run, problem: problems.append(problem))
    assert sorted(bool(problem) for problem in problems) == [False, True]
