"""Every example of docs/howto/extend.md trains with the command on the page, and resumes bit for bit."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

import core
from core.__main__ import main
from core.spec.run.folder import RunDir
from core.spec.run.model_names import checkpoint_names
from tests.core.images import write_pairs

PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "extend.md").read_text(encoding="utf-8")
FILES = {name: code for code, name in re.findall(r"^```python\n(# (\w+\.py)\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)}
COMMANDS = re.findall(r"^sdgui-core presets (\S+) .*\nsdgui-core train (.*)$", PAGE, re.MULTILINE)
assert len(FILES) == len(COMMANDS) == 4
SHORT = ["optim.epochs=1", "optim.batch_size=9", "runtime.log_every=1", "checkpoint.every_steps=1", "checkpoint.keep=9"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder that the page assumes, with its files."""
    write_pairs(tmp_path)
    write_pairs(tmp_path / "images")
    for name, code in FILES.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("preset", "command"), COMMANDS, ids=[preset + command.split()[1] for preset, command in COMMANDS]
)
def test_an_example_trains_by_its_command_and_a_resumed_run_equals_it(preset: str, command: str, folder: Path) -> None:
    (folder / f"{preset}.json").write_text(core.preset(preset, "tiny").to_json(), encoding="utf-8")
    config, run, *settings = shlex.split(command)
    assert main(["train", config, run, *settings, *SHORT]) == 0
    whole = RunDir(folder / run)
    resumed = RunDir(shutil.copytree(whole.path, folder / "resumed"))
    *earlier, last = checkpoint_names(whole)
    shutil.rmtree(resumed.checkpoints / last)
    lines = [line for line in resumed.events.read_text().splitlines(keepends=True) if "run_finished" not in line]
    resumed.events.write_text("".join(lines))
    assert main(["train", config, str(resumed.path), *settings, *SHORT]) == 0
    assert len(earlier) >= 2
    for part in (whole.checkpoints / last).glob("*.safetensors"):
        ours, theirs = load_file(part), load_file(resumed.checkpoints / last / part.name)
        assert ours.keys() == theirs.keys()
        assert all(ours[name].equal(theirs[name]) for name in ours), part.name
