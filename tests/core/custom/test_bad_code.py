"""An error in custom code fails the run with one sentence that names the code; the log has the traceback."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.spec.run.events import EventReader, RunFailed
from tests.core.custom.written import objective, run_of, train_with

LOSS = """
class Loss(nn.Module):
    def forward(self, student):
        return {}
"""
DATA = """
class Data:
    def __init__(self, name): self.count = {}
    def __len__(self): return self.count
    def __getitem__(self, index): {}
"""
CASES: dict[str, tuple[str, str, str]] = {
    "no such file": ("", "objectives.custom={\"gone.py:Loss\": {}}", r"gone\.py is not a file here, and .* no copy"),
    "no such module": ("", "data.dataset=no_such_module:make", r"no_such_module is not an installed module here"),
    "no such name": (LOSS, objective("Lost"), r"mine\.py has no Lost; available: Loss\."),
    "an error while it is loaded": ("x = 1 / 0\n", objective("Loss"), r"code/mine\.py, line 3: ZeroDivisionError"),
    "no Python": ("def f(:\n", objective("Loss"), r"code/mine\.py, line 3: SyntaxError"),
    "no module": ("class Loss: pass\n", objective("Loss"), r"mine\.py:Loss is not a torch\.nn\.Module"),
    "another signature": (
        LOSS.replace("student", "images, texts"),
        objective("Loss"),
        r"mine\.py:Loss has the parameters \(images, texts\); it must have student, and can have teacher and batch\.",
    ),
    "a teacher that is not there": (
        LOSS.replace("student", "student, teacher"), objective("Loss"), r"Loss needs a teacher; set teacher\.kind"),
    "an error in a step": (
        LOSS.format("student.missing"),
        objective("Loss"),
        r"code/mine\.py, line 6: AttributeError: .*'missing' \(in .*mine\.py:Loss\)\.",
    ),
    "no scalar": (
        LOSS.format("student.text.sum(-1)"), objective("Loss"), r"mine\.py:Loss returned a tensor of shape \(9,\)"),
    "no tensor": (LOSS.format("1.0"), objective("Loss"), r"mine\.py:Loss returned float; it must return a scalar"),
    "no gradient": (LOSS.format("torch.ones(())"), objective("Loss"), r"Loss returned a loss without gradient"),
    "not a number": (
        LOSS.format("student.text.mean() * float('nan')"),
        objective("Loss") + "; optim.epochs=2",
        r"step 5 was skipped: train/Loss not finite, for 5 steps in a row",
    ),
    "an empty data set": (DATA.format(0, "pass"), "data.dataset=mine.py:Data", r"a data set of length 0 for '.*train"),
    "another item": (
        DATA.format(20, "return 'a'"), "data.dataset=mine.py:Data", r"Data: item 0 is str; it must be \(image"),
    "an error in an item": (
        DATA.format(20, "return [][index]"), "data.dataset=mine.py:Data", r"code/mine\.py, line 7: IndexError"),
    "another image": (
        DATA.format(20, "return 7, 'a seven'"),
        "data.dataset=mine.py:Data; data.workers=1",
        r"mine\.py:Data: an image is int; it must be a path",
    ),
    "no data set": ("def make(name): return 3\n", "data.dataset=mine.py:make", r"mine\.py:make returned int for"),
    "no model": ("def build(model): pass\n", "towers.build=mine.py:build", r"mine\.py:build returned NoneType"),
    "towers of two arguments": (
        "def build(model, more): pass\n", "towers.build=mine.py:build", r"it must accept one argument, the model\."),
    "vectors of another width": (
        "class V(nn.Module):\n"
        "    image_size, output_dim = 32, 3\n"
        "    def forward(self, images): return images.mean((2, 3))\n"
        "def build(model):\n"
        "    model.visual = V()\n"
        "    return model\n",
        "towers.build=mine.py:build",
        r"the image tower returned \(1, 3\) for one image; it must return \(1, 64\)",
    ),
    "a rule without update": ("class R: pass\n", "teacher.kind=mine.py:R", r"mine\.py:R has no method update"),
    "an error in a rule": (
        "class R:\n    def update(self, teacher, student): teacher['x']\n",
        "teacher.kind=mine.py:R",
        r"code/mine\.py, line 4: KeyError",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("code", "settings", "sentence"), CASES.values(), ids=CASES)
def test_errors_in_custom_code_are_one_sentence(
    code: str,
    settings: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train_with(tmp_path, code, *settings.split("; ")) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    (failed,) = [event for event in EventReader(run_of(tmp_path).events).read_all() if isinstance(event, RunFailed)]
    assert message == f"error: {failed.message}"
    assert re.search(sentence, message), message
    assert "Traceback" in failed.traceback
