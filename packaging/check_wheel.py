"""Build wheel and sdist, install the wheel in fresh environments in another folder, and use what was installed there.

    .venv/bin/python packaging/check_wheel.py [--out DIR] [--window-only]

Twice: the window alone (no torch; its size; what it says where the trainer is missing), and ``sdgui[demo]`` (the demo's
data, a tiny training, an export, the window on the demo). Nothing of the clone is on the path. It prints one line a
step and ends with exit status 1 at the first that fails. uv does the installing, from its
cache where it can; UV_TORCH_BACKEND=cpu spares the download of CUDA.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 400 * 1000**2  # of an environment with the window alone
MOST_SECONDS = 60.0  # from the wheel to the window on the demo, with warm caches; reported, and no failure by itself
UV_AS_PIP = {"UV_FIND_LINKS": "PIP_FIND_LINKS", "UV_DEFAULT_INDEX": "PIP_INDEX_URL"}  # where pip looks, uv looks too
WINDOW = """
import sys, time
from pathlib import Path
from PySide6.QtCore import QTimer
from core.spec.resources import pages_folder
from sdgui.actions.help_pages import read_pages
from sdgui.app.start import make_application, open_window
from sdgui.panels.registry import PANELS
app = make_application()
window = open_window(Path(sys.argv[1]), True)
names = [panel.name for panel in PANELS]
problems = []
def show():
    if names:
        name = names.pop(0)
        window.show_panel(name)
        if window.grab().isNull():
            problems.append(name)
        QTimer.singleShot(100, show)
    else:
        message = window.bar.message
        print(message.text if message is not None else "")
        pages = read_pages(pages_folder())
        problems.extend(panel.name for panel in PANELS if f"panels/{panel.name}.md" not in pages)
        print(window.experiments.model.rowCount(), len(problems))
        window.close()
        app.quit()
QTimer.singleShot(1000, show)
sys.exit(app.exec())
"""


class Failed(Exception):
    """A step that did not do what it should."""


def run(command: Sequence[str | Path], folder: Path, fails: bool = False, seconds: float = 600) -> str:
    """What ``command`` printed, run in ``folder`` without a trace of the clone; Failed when its status is another."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    variables |= {"QT_QPA_PLATFORM": "offscreen", "XDG_DATA_HOME": str(folder / "data")}
    for theirs, pips in UV_AS_PIP.items():
        if pips in variables:
            variables.setdefault(theirs, variables[pips])
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=variables, capture_output=True, text=True, timeout=seconds
    )
    if (done.returncode != 0) is not fails:
        raise Failed(f"{' '.join(map(str, command))[:200]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stderr if fails else done.stdout


def build(out: Path) -> Path:
    """The wheel; the sdist lies beside it, and the wheel is made from it, so that both are whole."""
    for older in out.glob("sdgui-*"):
        older.unlink()
    run([find_uv_bin(), "build", "-q", "--out-dir", out, ROOT], out)
    wheel = next(out.glob("sdgui-*.whl"))
    check_names(wheel)
    return wheel


def check_names(wheel: Path) -> None:
    """Nothing lands beside ``core`` and ``sdgui``, and every resource of the clone but the screenshots is there."""
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names} - {"core", "sdgui"}
    if any(not name.endswith(".dist-info") for name in top):
        raise Failed(f"the wheel installs other top-level names than core and sdgui: {sorted(top)}")
    wanted = {f"sdgui/{path.relative_to(ROOT)}" for path in (ROOT / "resources").rglob("*") if path.is_file()}
    lacking = {name for name in wanted if "/screenshots/" not in name and "__pycache__" not in name} - set(names)
    if lacking or "sdgui/resources/docs/panels/search.md" not in names:
        raise Failed(f"the wheel lacks {sorted(lacking) or 'the pages of docs/'}")


def install(wheel: Path, extra: str, folder: Path) -> Path:
    """A fresh environment with the wheel; its ``bin`` folder."""
    uv, environment = find_uv_bin(), folder / "environment"
    run([uv, "venv", "-q", "--python", sys.executable, environment], folder)
    what = f"sdgui{extra} @ {wheel.as_uri()}"
    run([uv, "pip", "install", "-q", "--python", environment / "bin" / "python", what], folder, seconds=1800)
    return environment / "bin"


def check_window_alone(wheel: Path, folder: Path) -> None:
    """No torch, small, it opens, and it says what it cannot do."""
    bin_ = install(wheel, "", folder)
    size = sum(file.lstat().st_size for file in (folder / "environment").rglob("*") if not file.is_dir())
    print(f"the window alone takes {size / 1000**2:.0f} MB")
    if size > MOST_BYTES:
        raise Failed(f"the window alone takes {size / 1000**2:.0f} MB, more than {MOST_BYTES / 1000**2:.0f}")
    told = run([bin_ / "python", "-P", "-c", WINDOW, folder / "home"], folder)
    if "The trainer is not installed" not in told:
        raise Failed(f"the window without the trainer does not say so, but: {told}")
    run([bin_ / "sdgui-core", "presets"], folder)
    told = run([bin_ / "sdgui-core", "demo-data", "pairs"], folder, fails=True)
    if "is not installed on this computer" not in told or "Traceback" in told:
        raise Failed(f"a verb without its packages does not say so, but: {told}")
    found = json.loads(run([bin_ / "sdgui-core", "doctor", "--json"], folder))
    lacking = [check["name"] for check in found["checks"] if check["state"] == "optional"]
    print(f"without the trainer it opens, and names what is missing: {', '.join(lacking)}")


def check_demo(wheel: Path, folder: Path) -> None:
    """Install to window, and then the demo's data, a tiny training and an export from the wheel alone."""
    began = time.monotonic()
    bin_ = install(wheel, "[demo]", folder)
    installed = time.monotonic()
    told = run([bin_ / "python", "-P", "-c", WINDOW, folder / "home"], folder).split()
    took = time.monotonic() - began
    if told[-2:] != ["2", "0"]:
        raise Failed(f"the window on the demo shows other experiments or empty panels: {told}")
    verdict = "" if took <= MOST_SECONDS else f", more than {MOST_SECONDS:.0f}: were the caches warm?"
    print(f"wheel to window with the demo: {took:.1f} s, {installed - began:.1f} of it installing{verdict}")
    core = bin_ / "sdgui-core"
    run([core, "demo-data", "pairs"], folder)
    (folder / "tiny.json").write_text(run([core, "presets", "sd-clip", "--size", "tiny"], folder), encoding="utf-8")
    data = ["data.train=pairs/val.csv", "data.val=pairs/test.csv", "optim.epochs=1"]
    run([core, "train", "tiny.json", "runs/tiny", "--set", *data], folder)
    run([core, "export", "runs/tiny", "exported"], folder)
    ended = (folder / "runs" / "tiny" / "events.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    if json.loads(ended)["kind"] != "run_finished" or not (folder / "exported" / "README.md").is_file():
        raise Failed(f"the training ended with {ended}")
    print("the demo's data, a tiny training and an export: from the wheel alone")


def main() -> int:
    """Exit status 0 when all of it holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep wheel and sdist in this folder")
    parser.add_argument("--window-only", action="store_true", help="leave out the trainer")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sdgui-wheel-") as name:
        out = arguments.out.absolute() if arguments.out else Path(name) / "dist"
        out.mkdir(parents=True, exist_ok=True)
        steps = [check_window_alone] if arguments.window_only else [check_window_alone, check_demo]
        try:
            wheel = build(out)
            print(f"{wheel.name}: {wheel.stat().st_size / 1000**2:.1f} MB")
            for step in steps:
                folder = Path(name) / step.__name__
                folder.mkdir()
                step(wheel, folder)
        except Failed as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
