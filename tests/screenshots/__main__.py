"""``python -m tests.screenshots [OUT]``: the images of README and docs; ``--help`` lists the options.

Each panel as ``NAME.png`` and ``NAME-dark.png``, 1440 x 900, drawn without a display from a recorded study, in a
minute. ``--check`` makes them too, and compares. ``--record`` makes the recording anew, which trains the study first:
minutes to an hour; a ``--home`` that is kept is trained once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import unified_diff
from pathlib import Path

from PIL import Image
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication

from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.presets import SIZES
from core.spec.study import Study
from sdgui.widgets.style.theme import Scheme, theme
from tests.screenshots.answers import gathered, recorder, replayer
from tests.screenshots.comparing import TOLERANCE, difference
from tests.screenshots.described import described
from tests.screenshots.home import listed_study, study_of, trained_study
from tests.screenshots.pinned import close, fit_axes, pin_environment, pinned_application, pinned_window, still
from tests.screenshots.recording import pack, unpack
from tests.screenshots.scenes import SCENES, Stage

STEPS, SEEDS = 234, 2
OUT = Path("resources/screenshots")
RECORDING = "recording.tar.xz"
_DIFFERING = Path("build/screenshots")
_SCHEMES: tuple[tuple[Scheme, str], ...] = (("light", ""), ("dark", "-dark"))


@contextmanager
def recorded(recording: Path) -> Iterator[tuple[Stage, str]]:
    """The stage of ``recording`` for the length of the block, and the folder that its home is in."""
    with tempfile.TemporaryDirectory(prefix="sdgui-screenshots-") as temporary:
        home = Path(temporary) / "home"
        folder, answers = unpack(recording, home)
        window = pinned_window(home, replayer(answers, folder))
        try:
            yield Stage(window, listed_study(window, folder)), temporary
        finally:
            close(window)


def photograph(recording: Path, out: Path, panels: Sequence[str]) -> list[Path]:
    """Write the images of ``panels``, as ``recording`` has them, into ``out``."""
    with recorded(recording) as (stage, _):
        return [path for name in panels for path in _grab(stage, name, out)]


def describe_panels(recording: Path, texts: Path, panels: Sequence[str], checked: bool) -> bool:
    """Write what ``panels`` show, as ``recording`` has them, into the folder ``texts``.

    ``checked``: compare with what is there instead, print what differs, and return whether nothing does.
    """
    well = True
    with recorded(recording) as (stage, temporary):
        for name in panels:
            SCENES[name](stage)
            path = texts / f"{name}.txt"
            before = path.read_text(encoding="utf-8") if checked else None
            now = described(stage.window, temporary, before)
            if before is None:
                write_whole(path, now.encode())
            elif now != before:
                well = False
                changes = unified_diff(before.splitlines(), now.splitlines(), str(path), "now", lineterm="", n=0)
                print(*changes, sep="\n")
    if not well:
        print(f"Where that is right: python -m tests.screenshots --describe {texts}", file=sys.stderr)
    return well


def _grab(stage: Stage, name: str, out: Path) -> list[Path]:
    SCENES[name](stage)
    still(stage.window)  # all has come
    paths = []
    for scheme, ending in _SCHEMES:
        theme().set_scheme(scheme)
        if (focused := QApplication.focusWidget()) is not None:  # neither a frame nor a cursor
            focused.clearFocus()
        fit_axes(stage.window)
        path = out / f"{name}{ending}.png"
        save_image(still(stage.window), path)
        paths.append(path)
    return paths


def save_image(image: QImage, path: Path) -> None:
    """``image`` as PNG in 256 colours, a third of the size; OSError when it cannot be written."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    shown = Image.frombytes(
        "RGB", (image.width(), image.height()), bytes(image.constBits()), "raw", "RGB", image.bytesPerLine()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    small = shown.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def record(recording: Path, home: Path, wanted: Study) -> None:
    """Train in ``home`` what is not trained yet, show every panel with real workers, and note what they answer."""
    window = pinned_window(home, None)
    try:
        folder = trained_study(window, wanted, lambda text: print(text, file=sys.stderr, flush=True)).folder
    finally:
        close(window)
    with tempfile.TemporaryDirectory(prefix="sdgui-answers-") as temporary:
        noted, new = Path(temporary) / "noted", Path(temporary) / "home"  # a window that has shown nothing yet
        noted.mkdir()
        window = pinned_window(new, recorder(noted, folder))
        try:
            stage = Stage(window, listed_study(window, folder))
            for name, scene in SCENES.items():
                print(name, file=sys.stderr, flush=True)
                scene(stage)
                still(window)
        finally:
            close(window)
        pack(recording, folder, gathered(noted))


def check(recording: Path, committed: Path, panels: Sequence[str], differing: Path) -> bool:
    """Whether the images in ``committed`` show what the window shows; prints by how much each differs that does not.

    Those as they are now are left in ``differing``.
    """
    well = True
    with tempfile.TemporaryDirectory(prefix="sdgui-screenshots-") as temporary:
        for new in photograph(recording, Path(temporary), panels):
            old, found = committed / new.name, difference(committed / new.name, new)
            if found.tolerable:
                print(f"{old}: {found.share:.2%} differs")
                continue
            well = False
            differing.mkdir(parents=True, exist_ok=True)
            now = differing / new.name
            now.write_bytes(new.read_bytes())
            print(f"{old}: {found.share:.2%} differs, more than {TOLERANCE:.2%}, within {found.where}; as it is: {now}")
    if not well:
        print("Look at them; where they are right: python -m tests.screenshots", file=sys.stderr)
    return well


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description="Make the images of README.")
    parser.add_argument("out", nargs="?", type=Path, default=OUT, help="folder (default: %(default)s)")
    parser.add_argument("--panel", action="append", choices=list(SCENES), help="only this panel; may be repeated")
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"change nothing, and fail where an image differs by more than {100 * TOLERANCE:g} %% of its area; "
        f"the new ones are left in {_DIFFERING}",
    )
    parser.add_argument(
        "--describe",
        type=Path,
        metavar="DIR",
        help="write what each panel shows as text into DIR; with --check, compare with it",
    )
    parser.add_argument("--record", action="store_true", help="train the study and record it anew first")
    parser.add_argument("--home", type=Path, help="with --record: home folder to train in and to keep")
    parser.add_argument("--steps", type=int, default=STEPS, help="with --record: optimiser steps of each run")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="with --record: runs of each arm")
    parser.add_argument("--size", choices=SIZES, default="demo", help="with --record: of the models")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Make or check the images; exit status 0 when all are written, or are as they should be."""
    parsed = make_parser().parse_args(arguments)
    panels, recording = parsed.panel or list(SCENES), parsed.out / RECORDING
    pin_environment()
    try:
        pinned_application()
        if parsed.record:
            with tempfile.TemporaryDirectory(prefix="sdgui-screenshots-") as temporary:
                home = (parsed.home or Path(temporary) / "home").absolute()
                record(recording, home, study_of(parsed.steps, parsed.seeds, parsed.size))
        if parsed.describe:
            return 0 if describe_panels(recording, parsed.describe, panels, parsed.check) else 1
        if parsed.check:
            return 0 if check(recording, parsed.out, panels, _DIFFERING) else 1
        for path in photograph(recording, parsed.out, panels):
            print(path)
    except UserError as error:
        print(f"tests.screenshots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
