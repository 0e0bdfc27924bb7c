"""Names, notes, logs and answers are printed without terminal escape sequences."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import pytest

from core.__main__ import main
from core.cli.terminal import escape_controls, plain_output
from core.spec.config import override
from core.spec.failures import displayed
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir

EVIL = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202egnp\r"
OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
ANSWERS = {
    "probe": {"host": EVIL, "system": EVIL, "gpus": [{"index": 0, "name": EVIL, "users": [EVIL]}], "torch": EVIL},
    "check": {"findings": [{"name": EVIL, "works": False, "detail": EVIL, "remedy": EVIL}]},
    "runs": {"runs": [{"folder": f"/{EVIL}", "name": EVIL, "state": "done"}]},
}
HOST = f"""
import json, sys
print(json.dumps({{"event": "hello", "protocol": 1, "host": {EVIL!r}}}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    result = {ANSWERS!r}.get(asked.get("do"))
    answer = {{"event": "done", "result": result}} if result else {{"event": "failed", "message": {EVIL!r}}}
    print(json.dumps({{"id": asked.get("id"), **answer}}), flush=True)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run and a machine with terminal escapes in their names and notes."""
    home = tmp_path / "home"
    run = RunDir(home / "runs" / "one")
    run.create()
    run.config.write_text(override(preset_config("clip", "tiny"), [f"name={EVIL}"]).to_json())
    failed = {"kind": "run_failed", "v": 1, "time": time.time(), "step": 1, "error": "E", "message": EVIL}
    values = {"kind": "evaluated", "v": 1, "time": time.time(), "step": 1, "values": {f"val/{EVIL}": 1.0}}
    run.events.write_text("".join(json.dumps(one) + "\n" for one in (values, {**failed, "traceback": EVIL})))
    run.stdout.write_text(EVIL)
    other = RunDir(home / "runs" / "two")
    other.create()
    other.config.write_text(run.config.read_text().replace("red", "blue"))
    (tmp_path / "ssh.py").write_text(HOST)
    (tmp_path / "ssh").write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path}/ssh.py\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("SDGUI_SSH", str(tmp_path / "ssh"))
    assert main(["machines", "add", "gpu", "--home", str(home)]) == 0
    (tmp_path / "a.csv").write_text(f"filepath,title,{EVIL}\n{EVIL}.png,{EVIL},{EVIL}\n", newline="")
    return home


def test_no_command_prints_terminal_escapes(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home.parent)
    capsys.readouterr()
    for command in (
        "runs list", "runs list --json", "runs show one", "runs compare one two", "logs one", "logs one --events",
        "machines list", "machines show gpu", "machines check gpu", "stop one", "data a.csv",
    ):  # fmt: skip
        words = command.split(" ")
        main(words if words[0] == "data" else [*words, "--home", str(home)])
        shown = capsys.readouterr()
        text = shown.out + shown.err
        assert text, command
        assert not OBEYED.search(text), (command, text)
        if "--json" in words:
            json.loads(shown.out)


def test_json_stays_json_and_our_progress_lines_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with plain_output():
        print(json.dumps({EVIL: EVIL}, ensure_ascii=False))
        print("\r\x1b[K3 of 4" + EVIL, end="", file=sys.stderr)
        print("a\tb\r\nc", end="")
    shown = capsys.readouterr()
    line, _, rest = shown.out.partition("\n")
    assert json.loads(line) == {EVIL: EVIL}
    assert rest == "a\tb\r\nc"
    assert shown.err == "\r\x1b[K3 of 4" + escape_controls(EVIL)
    assert escape_controls("é 中 🙂") == "é 中 🙂"


def test_no_name_or_note_adds_a_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDir(home / "runs" / "one")
    events = run.events.read_text().replace("red", "red\\nFORGED\\r\\nFORGED")
    assert "FORGED" in events
    run.events.write_text(events)
    run.stdout.unlink()
    run.path.with_name("two").rename(run.path.with_name("two\nFORGED"))
    capsys.readouterr()
    for command in ("runs list", "runs show one", "runs compare one two\nFORGED", "logs one --follow"):
        main([*command.split(" "), "--home", str(home)])
        shown = capsys.readouterr()
        lines = (shown.out + shown.err).splitlines()
        assert any("FORGED" in line for line in lines), command
        assert not any(line.startswith("FORGED") for line in lines), command


def error_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line != "reading the data"]


def test_an_error_is_one_bounded_line_whatever_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(tmp_path / "a\nerror: all is lost\r\n.csv")]) == 1
    (line,) = error_lines(capsys)
    assert "a\\u000aerror: all is lost\\u000d\\u000a.csv" in line
    assert main(["data", str(tmp_path / "/".join(["x" * 200] * 30))]) == 1
    (line,) = error_lines(capsys)
    assert len(line) < 1100


def test_lists_in_errors_keep_their_lines() -> None:
    text = "a.json cannot be used:\n  optim.epochs: too many\n  and 3 more"
    assert displayed(text) == text
