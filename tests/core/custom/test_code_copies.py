"""Copies of custom code in a run folder: written once, compared on resuming, sent to other machines."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.__main__ import main
from core.spec.config import read_config
from core.spec.run.code import CodeError, copied_files, keep_code, pack_code, read_copy, unpack_code
from core.spec.run.events import EventReader, Metrics
from core.spec.run.folder import RunDir
from core.spec.run.model_names import checkpoint_names
from core.training.train import train
from tests.core.custom.written import HEAD, keep_trained, objective, put_back, run_of, train_with

LOSS = """
class Loss(nn.Module):
    def forward(self, student): return {} * student.text.square().mean()
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def train_half(work: Path) -> None:
        more = ("checkpoint.every_steps=2", "checkpoint.keep=9")
        assert train_with(work, LOSS.format(1), objective("Loss"), *more) == 0
        run = run_of(work)
        shutil.rmtree(run.checkpoints / checkpoint_names(run)[-1])
        lines = [line for line in run.events.read_text().splitlines(keepends=True) if "run_finished" not in line]
        run.events.write_text("".join(lines))

    return keep_trained(tmp_path_factory.mktemp("copies"), train_half)


@pytest.fixture
def half(kept: Path, user_folders: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run of this user without its last checkpoint and end event, so that training continues."""
    shutil.copytree(kept / "user", user_folders, dirs_exist_ok=True)
    return put_back(kept, monkeypatch)


def losses(run: RunDir) -> list[float]:
    """``train/Loss`` of the steps after the resume, 3 and 4."""
    events = [event for event in EventReader(run.events).read_all() if isinstance(event, Metrics)]
    return [event.values["train/Loss"] for event in events][-2:]


def test_a_changed_file_is_refused_unless_the_user_chooses(half: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    file = half.path.parent / "mine.py"
    before = losses(half)
    file.write_text(HEAD + LOSS.format(100))
    command = ["train", str(half.config), str(half.path)]
    assert main(command) == 1
    assert f"error: {file} changed since {half.path} began; restore it, or continue" in capsys.readouterr().err
    other = RunDir(shutil.copytree(half.path, half.path.parent / "other"))
    assert main([*command, "--code", "kept"]) == 0
    assert losses(half) == before
    assert main(["train", str(other.config), str(other.path), "--code", "changed"]) == 0
    assert losses(other)[0] == pytest.approx(100 * before[0], rel=1e-4)
    (kept,) = copied_files(other).values()
    assert read_copy(other, kept) == file.read_bytes()


def test_a_run_without_a_checkpoint_takes_the_current_file(half: RunDir) -> None:
    shutil.rmtree(half.checkpoints)
    (half.path.parent / "mine.py").write_text(HEAD + LOSS.format(100))
    assert main(["train", str(half.config), str(half.path)]) == 0


def test_the_copy_trains_where_the_original_file_is_missing(half: RunDir) -> None:
    """As on a machine to which a run was sent."""
    sent = RunDir(half.path.parent / "machine" / "run")
    sent.create()
    unpack_code(sent, pack_code(half))
    (half.path.parent / "mine.py").unlink()
    assert train(read_config(half.config), sent, quiet=True) == "done"


def test_incomplete_code_is_refused(half: RunDir, tmp_path: Path) -> None:
    sent, files = RunDir(tmp_path / "machine" / "run"), pack_code(half)
    sent.create()
    for change in (
        {"mine.py": files["mine.py"] + "#"},
        {"mine.py": None},
        {"index.json": files["index.json"].replace('"mine.py"', '"../mine.py"')},
        {"index.json": "[]"},
    ):
        with pytest.raises(CodeError):
            unpack_code(sent, {name: text for name, text in {**files, **change}.items() if text is not None})
        assert copied_files(sent) == {}
    assert not list(tmp_path.glob("machine/*.py"))


def test_files_with_one_name_have_separate_copies(half: RunDir, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mine.py").write_text("def make(name): pass\n")
    raw = read_config(half.config).model_dump(mode="json")
    raw["data"]["dataset"] = f"{tmp_path}/sub/mine.py:make"
    config = type(read_config(half.config)).model_validate(raw)
    other = RunDir(tmp_path / "other")
    other.create()
    keep_code(config, other)
    kept = copied_files(other)
    assert len({one.file for one in kept.values()}) == 2
    assert read_copy(other, kept[f"{tmp_path}/sub/mine.py"]) == b"def make(name): pass\n"


def test_an_installed_module_is_imported_and_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site" / "their_package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "losses.py").write_text(HEAD + LOSS.format(2))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    assert train_with(tmp_path, "", 'objectives.custom={"their_package.losses:Loss": {}}') == 0
    (kept,) = copied_files(run_of(tmp_path)).values()
    assert kept.file == "their_package.losses.py"
    assert losses(run_of(tmp_path))
