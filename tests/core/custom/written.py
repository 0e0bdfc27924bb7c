"""Training of a tiny model with code that a test writes into a file, by the command line."""

from __future__ import annotations

import json
from pathlib import Path

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
