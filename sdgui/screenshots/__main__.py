"""``python -m sdgui.screenshots [OUT]``: the pictures of README; ``--help`` lists the options.

Each panel as ``NAME.png`` and ``NAME-dark.png``, 1440 x 900, drawn without a display unless ``QT_QPA_PLATFORM`` names
one. Trains a small study first, which takes minutes to an hour; a ``--home`` that is kept is trained once.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QWidget

from core.spec.presets import SIZES
from core.spec.study import Study
from sdgui.app.start import make_application, open_window
from sdgui.screenshots.home import study_of, trained_study
from sdgui.screenshots.scenes import SCENES, Stage
from sdgui.screenshots.waiting import settle
from sdgui.widgets.style.theme import Scheme, theme

SIZE = (1440, 900)
STEPS, SEEDS = 234, 3
OUT = Path("resources/screenshots")
_SCHEMES: tuple[tuple[Scheme, str], ...] = (("light", ""), ("dark", "-dark"))


def photograph(home: Path, out: Path, panels: Sequence[str], wanted: Study) -> list[Path]:
    """Train in ``home`` what is not trained yet, and write the pictures of ``panels`` into ``out``."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    make_application()
    window = open_window(home, demo=False)
    window.resize(*SIZE)
    try:
        study = trained_study(window, wanted, lambda text: print(text, file=sys.stderr, flush=True))
        stage = Stage(window, study)
        return [path for name in panels for path in _grab(stage, name, out)]
    finally:
        window.keep_training()


def _grab(stage: Stage, name: str, out: Path) -> list[Path]:
    SCENES[name](stage)
    paths = []
    for scheme, ending in _SCHEMES:
        theme().set_scheme(scheme)
        settle(1.5)
        if (focused := QApplication.focusWidget()) is not None:  # neither a frame nor a blinking cursor
            focused.clearFocus()
        path = out / f"{name}{ending}.png"
        save_picture(stage.window, path)
        print(path, flush=True)
        paths.append(path)
    return paths


def save_picture(widget: QWidget, path: Path) -> None:
    """What ``widget`` shows as PNG in 256 colours, a third of the size; OSError when it cannot be written."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    shown = Image.frombytes(
        "RGB", (image.width(), image.height()), bytes(image.constBits()), "raw", "RGB", image.bytesPerLine()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    small = shown.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the pictures; exit status 0 when all are written."""
    parser = argparse.ArgumentParser(prog="python -m sdgui.screenshots", description="Make the pictures of README.")
    parser.add_argument(
        "out", nargs="?", type=Path, default=Path("resources/screenshots"), help="folder (default: %(default)s)"
    )
    parser.add_argument("--home", type=Path, help="home folder to train in and to keep (default: a temporary one)")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimiser steps of each run")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each arm")
    parser.add_argument("--size", choices=SIZES, default="demo", help="of the models (default: %(default)s)")
    parser.add_argument("--panel", action="append", choices=list(SCENES), help="only this panel; may be repeated")
    parsed = parser.parse_args(arguments)
    panels = parsed.panel or list(SCENES)
    with tempfile.TemporaryDirectory(prefix="sdgui-screenshots-") as temporary:
        photograph(
            parsed.home or Path(temporary) / "home",
            parsed.out,
            panels,
            study_of(parsed.steps, parsed.seeds, parsed.size),
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
