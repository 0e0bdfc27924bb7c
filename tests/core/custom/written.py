"""Helpers that write custom code into a file and train a tiny model with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import core
from core.__main__ import main
from core.spec.run.folder import RunDir
from tests.core.images import write_pairs

SHORT = ("optim.epochs=1", "optim.batch_size=9", "runtime.log_every=1", "runtime.device=cpu")
HEAD = "import torch\nfrom torch import nn\n"


def train_with(folder: Path, code: str, *settings: str, options: tuple[str, ...] = (), preset: str = "clip") -> int:
    """Train ``preset`` in ``folder/run`` with ``code`` in ``folder/mine.py``; the exit status of the command.

    The working folder is expected to be ``folder``.
    """
    train, _ = write_pairs(folder / "pairs")
    (folder / "mine.py").write_text(HEAD + code, encoding="utf-8")
    config = folder / "config.json"
    config.write_text(core.preset(preset, "tiny", {"data.train": str(train)}).to_json(), encoding="utf-8")
    return main(["train", str(config), "run", "--set", *SHORT, *settings, *options])


def objective(name: str, **settings: object) -> str:
    """The setting that gives the loss ``name`` of ``mine.py`` weight 1."""
    return f"objectives.custom={json.dumps({f'mine.py:{name}': settings})}"


def run_of(folder: Path) -> RunDir:
    """The run that ``train_with`` trains."""
    return RunDir(folder / "run")


def keep_trained(folder: Path, train: Callable[[Path], object]) -> Path:
    """Train in ``folder``/work and keep a copy, which `put_back` restores for each test of a module."""
    work = folder / "work"
    work.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, str(folder / "user"))
        train(work)
    run_of(work).status.unlink(missing_ok=True)  # of this very process
    shutil.copytree(work, folder / "kept")
    return folder


def put_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """Restore ``folder``/work, make it the working folder, and return its run."""
    work = folder / "work"
    shutil.rmtree(work)
    shutil.copytree(folder / "kept", work)
    monkeypatch.chdir(work)
    return run_of(work)
