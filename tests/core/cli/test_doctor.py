"""``doctor`` reports missing parts with the command that installs each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.__main__ import main
from core.cli import doctor
from core.spec import installed


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, str]]:
    """Replaces the output of the programs that load Qt and torch."""
    answers = {doctor._QT_PROGRAM: ("6.11.3 9", ""), doctor._TORCH_PROGRAM: ("2.13.0 cpu", "")}
    monkeypatch.setattr(doctor, "_run", lambda program, _variables: answers[program])
    return answers


def test_a_healthy_installation_is_reported_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Really starts Qt; torch, which takes seconds to load, is tested with the wheel."""
    start = doctor._run
    monkeypatch.setattr(doctor, "_TIMEOUT_S", 600)  # a busy machine is not a fault of the installation
    monkeypatch.setattr(
        doctor,
        "_run",
        lambda program, given: start(program, given) if program == doctor._QT_PROGRAM else ("2.13.0 cpu", ""),
    )
    monkeypatch.setattr(doctor, "_missing_libraries", lambda _qt: [])  # of X11's platform, which a server may lack
    assert main(["doctor", "--json", "--home", str(tmp_path / "new" / "home")]) == 0
    output = json.loads(capsys.readouterr().out)
    states = {check["name"]: check["state"] for check in output["checks"]}
    assert output["ok"]
    assert {states[what] for what in ("Python", "Window", "Qt", "Fonts", "Trainer", "Experiments")} == {"ok"}
    assert not (tmp_path / "new").exists()


def test_each_missing_part_has_its_remedy(
    tmp_path: Path,
    no_programs: dict[str, tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor, "_missing_libraries", lambda _qt: ["libxcb-cursor.so.0"])
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None if name == "ssh" else f"/usr/bin/{name}")
    monkeypatch.setattr(installed, "find_spec", lambda _name: None)
    assert main(["doctor", "--home", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "error     Qt's libraries  no libxcb-cursor.so.0\n" in output
    assert "-> sudo apt-get install libxcb-cursor0\n" in output
    assert "optional  Trainer         not installed" in output
    assert "[train]" in output
    assert "optional  Other machines  no ssh" in output
    monkeypatch.setattr(installed, "find_spec", lambda name: None if name == "torch" else object())
    assert main(["doctor", "--home", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "error     Trainer         incomplete (no torch): it cannot train\n" in output
    no_programs[doctor._TORCH_PROGRAM] = ("", "libcudart.so.12: cannot open shared object file")
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "_run", lambda program, _variables: no_programs[program])
    assert main(["doctor", "--home", str(tmp_path)]) == 1
    assert "torch does not work: libcudart.so.12" in capsys.readouterr().out


@pytest.mark.usefixtures("no_programs")
@pytest.mark.parametrize(("name", "why"), [("file/home", "Not a directory"), ("x" * 300, "File name too long")])
def test_a_folder_that_cannot_be_created_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    (tmp_path / "file").touch()
    assert main(["doctor", "--json", "--home", str(tmp_path / name)]) == 1
    found = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}["Experiments"]
    assert (found["state"], why in found["detail"]) == ("error", True)
    assert "--home" in found["remedy"]


@pytest.mark.usefixtures("no_programs")
def test_qt_without_its_files_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "PySide6" else object())
    assert main(["doctor", "--home", str(tmp_path)]) == 1
    assert "error     Qt              files of Qt are missing" in capsys.readouterr().out
