"""``python -m tests.screenshots [OUT]``: the images of README and docs; ``--help`` lists the options.

Each panel as ``NAME.png`` and ``NAME-dark.png``, 1440 x 900, drawn without a display from recorded studies, in a
minute. ``--check`` makes them too, and compares. ``--record HOME`` makes the recording anew, of a home in which the
studies are done: ``wrong-captions``, whose config is beside this file, and the published ``noisy-draws``:

    sdgui-core study tests/screenshots/wrong-captions.json HOME/studies/wrong-captions
    sdgui-core study noisy-draws HOME/studies/noisy-draws
"""

from __future__ import annotations

import argparse
import sys
import tarfile
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
from sdgui.widgets.style.theme import Scheme, theme
from tests.screenshots.answers import HOME, gathered, recorder, replayer
from tests.screenshots.comparing import TOLERANCE, difference
from tests.screenshots.described import described
from tests.screenshots.pinned import close, fit_axes, pin_environment, pinned_application, pinned_window, still
from tests.screenshots.recording import ANSWERS, pack, unpack
from tests.screenshots.scenes import SCENES, Stage, searches

OUT = Path("resources/screenshots")
RECORDING = "recording.tar.xz"
FILM, FILM_SIZE = "film.webp", (1080, 675)
_DIFFERING = Path("build/screenshots")
_SCHEMES: tuple[tuple[Scheme, str], ...] = (("light", ""), ("dark", "-dark"))


@contextmanager
def recorded(recording: Path) -> Iterator[tuple[Stage, str]]:
    """The stage of ``recording`` for the length of the block, and the folder that its home is in."""
    with tempfile.TemporaryDirectory(prefix="sdgui-screenshots-") as temporary:
        home = Path(temporary) / "home"
        window = pinned_window(home, replayer(unpack(recording, home), home))
        try:
            yield Stage.of(window, home), temporary
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


def film(recording: Path, out: Path) -> None:
    """Write a moving image of searches, captions, cleaning and curves, each shown for two seconds."""
    with recorded(recording) as (stage, _):
        theme().set_scheme("light")
        frames = [_frame(stage) for _ in searches(stage)]
        for name in ("caption", "clean", "runs"):
            SCENES[name](stage)
            frames.append(_frame(stage))
    out.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=2200, loop=0, quality=80, method=6)


def _frame(stage: Stage) -> Image.Image:
    still(stage.window)
    fit_axes(stage.window)
    return pillow_image(still(stage.window)).resize(FILM_SIZE, Image.Resampling.LANCZOS)


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
    path.parent.mkdir(parents=True, exist_ok=True)
    small = pillow_image(image).quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def pillow_image(image: QImage) -> Image.Image:
    """``image`` in RGB."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    size, pixels = (image.width(), image.height()), bytes(image.constBits())
    return Image.frombytes("RGB", size, pixels, "raw", "RGB", image.bytesPerLine())


def record(recording: Path, home: Path, panels: Sequence[str]) -> None:
    """Show ``panels`` with real workers and note what they answer; answers for other panels are kept.

    The studies in ``home`` must be done.
    """
    with tempfile.TemporaryDirectory(prefix="sdgui-answers-") as temporary:
        noted, new = Path(temporary) / "noted", Path(temporary) / "home"  # a window that has shown nothing yet
        noted.mkdir()
        if len(panels) < len(SCENES):
            with tarfile.open(recording) as archive:
                archive.extract(ANSWERS, noted, filter="data")
        window = pinned_window(new, recorder(noted, home))
        try:
            stage = Stage.of(window, home)
            for name in panels:
                print(name, file=sys.stderr, flush=True)
                SCENES[name](stage)
                still(window)
        finally:
            close(window)
        pack(recording, home, gathered(noted).replace(str(new), HOME))


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
    parser.add_argument("--film", action="store_true", help=f"also make {FILM}, the moving image of README")
    parser.add_argument("--record", type=Path, metavar="HOME", help="first record the studies in HOME, which are done")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Make or check the images; exit status 0 when all are written, or are as they should be."""
    parsed = make_parser().parse_args(arguments)
    panels, recording = [name for name in SCENES if name in (parsed.panel or SCENES)], parsed.out / RECORDING
    pin_environment()
    try:
        pinned_application()
        if parsed.record:
            record(recording, parsed.record.absolute(), panels)
        if parsed.describe:
            return 0 if describe_panels(recording, parsed.describe, panels, parsed.check) else 1
        if parsed.check:
            return 0 if check(recording, parsed.out, panels, _DIFFERING) else 1
        for path in photograph(recording, parsed.out, panels):
            print(path)
        if parsed.film:
            film(recording, parsed.out / FILM)
    except UserError as error:
        print(f"tests.screenshots: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
