"""Runs and machines on the command line: launching, controlling, showing, comparing and fetching runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from core.__main__ import main
from core.cli.local_runs import _print_from
from core.spec.machines import machines as machines_module
from core.spec.machines.machine import Machine
from core.spec.machines.machine_list import MachineList
from core.spec.machines.record import read_record
from core.spec.run.folder import RunDir
from tests.core.remote.conftest import command, run_config, runs_there, trainer, wait_for

__all__ = ["runs_there", "trainer"]
Said = tuple[int, str, str]


def say(*words: str) -> Said:
    """Exit status, stdout and stderr of a command."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    out.seek(0)
    return code, out.read(), err.getvalue()


@pytest.fixture
def home(tmp_path: Path, runs_there: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the machine ``near``, whose program is a child of this process."""
    home = tmp_path / "home"
    MachineList(home).put(Machine(name="near", runs=str(runs_there)))
    plain = machines_module.Host

    def host(machine: Machine, changed: object, other: Sequence[str] | None) -> object:
        return plain(machine, changed, command(machine))  # type: ignore[arg-type]

    monkeypatch.setattr(machines_module, "Host", host)
    return home


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(run_config("A try"))
    return path


def test_the_life_of_a_run_by_verbs(home: Path, config: Path, runs_there: Path, trainer: Callable[[str], None]) -> None:
    at_home = ("--home", str(home))
    trainer("--steps 100 --delay 0.02")
    code, out, err = say("launch", str(config), "--on", "near", "--unchecked", *at_home)
    assert code == 0, err
    run = RunDir(out.strip())
    assert run.path.name.startswith("a-try-")
    key = run.path.name[-8:]
    code, _, err = say("pause", key, *at_home)
    assert (code, f"{run.path.name}: paus" in err) == (0, True), err  # pausing, or paused already; not: running
    code, out, err = say("logs", key, "--follow", *at_home)
    assert (code, out) == (3, "begins\n"), err
    assert "[paused]" in err
    (runs_there / "hurry").touch()
    assert say("resume", key, *at_home)[0] == 0
    code, out, _ = say("logs", key, "--follow", "--events", *at_home)
    assert code == 0
    kinds = [json.loads(line)["kind"] for line in out.splitlines()]
    assert kinds.count("run_started") == 2
    assert kinds.count("metrics") == 100
    [row] = json.loads(say("runs", "list", "--json", *at_home)[1])
    assert (row["state"], row["step"], row["machine"], row["experiment"]) == ("done", 100, "near", "A try")
    loss = row["metrics"]["train/loss"]
    assert (loss["last"], loss["best"], loss["best_step"]) == (0.04, 0.04, 100)
    shown = say("runs", "show", key, *at_home)[1]
    assert "done on near, step 100/100" in shown


def test_a_list_asks_the_machines_first(
    home: Path, config: Path, runs_there: Path, trainer: Callable[[str], None]
) -> None:
    trainer("--steps 20 --delay 0.03")
    at_home = ("--home", str(home))
    code, out, err = say("launch", str(config), "--on", "near", "--unchecked", *at_home)
    assert code == 0, err
    there = RunDir(runs_there / Path(out.strip()).name)
    wait_for(lambda: there.events.exists() and b"run_finished" in there.events.read_bytes())
    listed = ("runs", "list", "--json", *at_home)
    [row] = json.loads(say(*listed, "--cached")[1])
    assert row["state"] != "done", "it was not followed"
    MachineList(home).remove("near")
    code, out, err = say(*listed)
    assert json.loads(out) == [row]
    assert "near could not be reached" in err
    MachineList(home).put(Machine(name="near", runs=str(runs_there)))
    [row] = json.loads(say(*listed)[1])
    assert (row["state"], row["step"]) == ("done", 20)


def test_checkpoints_are_fetched_by_a_verb(home: Path, config: Path, trainer: Callable[[str], None]) -> None:
    at_home = ("--home", str(home))
    trainer("--steps 5 --delay 0")
    run = RunDir(say("launch", str(config), "--on", "near", "--unchecked", *at_home)[1].strip())
    record = read_record(run)
    assert record is not None
    step = Path(record.folder) / "checkpoints" / "step-00000005"
    wait_for(lambda: (Path(record.folder) / "checkpoints").is_dir())
    step.mkdir()
    (step / "student.safetensors").write_bytes(b"weights")
    (step / "checkpoint.json").write_text("{}")
    code, out, err = say("fetch", run.path.name, "5", *at_home)
    assert code == 0, err
    assert (Path(out.strip()) / "student.safetensors").read_bytes() == b"weights"
    code, _, err = say("fetch", run.path.name, "6", *at_home)
    assert code == 1
    assert "no checkpoint 6" in err


def test_runs_are_compared_field_by_field(home: Path, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        folder = home / "runs" / name
        folder.mkdir(parents=True)
        raw = json.loads(run_config())
        (folder / "config.json").write_text(json.dumps(raw | {"seed": seed}))
    found = json.loads(say("runs", "compare", "one", "two", "--json", "--home", str(home))[1])
    assert found["fields"] == {"seed": [1, 2]}
    table = say("runs", "compare", "one", "two", "--home", str(home))[1]
    assert table.splitlines()[1].split() == ["seed", "1", "2"]


def test_missing_runs_are_user_errors(home: Path, config: Path) -> None:
    at_home = ("--home", str(home))
    for words, said in (
        (("runs", "show", "nothing"), "there is no run nothing"),
        (("launch", str(config), "--on", "nowhere"), "there is no machine nowhere"),
        (("launch", str(config), "--print-script"), "a script is for Slurm"),
        (("machines", "check", "nowhere"), "there is no machine nowhere"),
        (("machines", "add", "a", "--host=-x"), "not a valid ssh name"),
        (("runs", "compare", "one"), "there is no run one"),
    ):
        code, _, err = say(*words, *at_home)
        assert code == 1, words
        assert said in err
        assert "Traceback" not in err


@pytest.mark.parametrize("place", [(), ("--on", "near")])
@pytest.mark.parametrize(("source", "sentence"), [("/no/such/pairs.csv", "on this machine"), ("", "is empty")])
def test_data_are_checked_before_a_launch(
    home: Path, config: Path, place: tuple[str, ...], source: str, sentence: str
) -> None:
    code, _, err = say("launch", str(config), *place, "--set", f"data.train={source}", "--home", str(home))
    assert code == 1
    assert source in err
    assert sentence in err
    assert not list(home.glob("runs/*"))


@pytest.mark.parametrize(
    ("sort", "sentence"),
    [
        ("pipe", "is a named pipe, not a file"),
        ("bytes", "is not UTF-8 text"),
        ("missing", "does not exist"),
    ],
)
def test_a_script_is_a_text_file_of_bounded_size(
    home: Path, config: Path, tmp_path: Path, sort: str, sentence: str
) -> None:
    path = tmp_path / "job.sh"
    if sort == "pipe":
        os.mkfifo(path)
    elif sort == "bytes":
        path.write_bytes(b"#!/bin/bash\n\xff\n")
    asked = ("launch", str(config), "--on", "near", "--unchecked", "--script", str(path), "--home", str(home))
    code, _, err = say(*asked)
    assert code == 1
    assert sentence in err
    assert not list(home.glob("runs/*"))


def test_machines_are_added_listed_and_removed(home: Path) -> None:
    at_home = ("--home", str(home))
    said = say("machines", "add", "gpu", "--launcher", "slurm", "--partition", "low", "--setup", "a\\nb", *at_home)
    assert said[0] == 0
    machines = {one["name"]: one for one in json.loads(say("machines", "list", "--json", *at_home)[1])}
    assert machines["gpu"]["host"] == "gpu"
    assert machines["gpu"]["setup"] == "a\nb"
    say("machines", "add", "gpu", "--runs", "/data", "--python", r"C:\new\python.exe", *at_home)
    gpu = MachineList(home).find("gpu")
    assert (gpu.runs, gpu.partition, gpu.python) == ("/data", "low", r"C:\new\python.exe")
    assert json.loads(say("machines", "show", "near", "--json", *at_home)[1])["cores"] >= 1
    code, out, _ = say("machines", "check", "near", *at_home)
    assert out.splitlines()[0].startswith("ok    Python")
    assert code == (0 if "FAIL" not in out else 1)
    say("machines", "remove", "gpu", *at_home)
    assert "gpu" not in say("machines", "list", *at_home)[1]


def test_a_local_run_is_launched_by_the_same_verb(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    raw = json.loads(run_config("Here"))
    raw["data"]["train"] = str(tmp_path / "missing.csv")
    path.write_text(json.dumps(raw))
    code, out, err = say("launch", str(path), "--unchecked", "--home", str(home))
    assert code == 0, err
    code, _, err = say("logs", Path(out.strip()).name, "--follow", "--home", str(home))
    assert code == 3
    assert "[failed]" in err
    assert "missing.csv" in err


def test_a_character_that_is_being_written_is_printed_once_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, text = RunDir(tmp_path), "loss: 2 µ\n".encode()
    run.stdout.write_bytes(text[:-2])
    offset = _print_from(run, run.stdout.name, 0)
    run.stdout.write_bytes(text)
    assert _print_from(run, run.stdout.name, offset) == len(text)
    assert capsys.readouterr().out == text.decode()
