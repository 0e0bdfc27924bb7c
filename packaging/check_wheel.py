"""Build wheel and sdist, install the wheel in fresh environments in another folder, and test the installation.

    .venv/bin/python packaging/check_wheel.py [--out DIR] [--window-only]

Tests the window alone (no torch; its size; its messages without the trainer), and ``sdgui[demo]`` (demo data, a tiny
training, an export, the window on the demo), without the clone on the path. Prints one line per step; exit status 1
after the first failure. Installs with uv, from its cache if possible; UV_TORCH_BACKEND=cpu avoids downloading CUDA.
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
MAX_BYTES = 400 * 1000**2  # of an environment with the window alone
EXPECTED_SECONDS = 60.0  # from the wheel to the window on the demo, with warm caches; only reported
UV_AS_PIP = {"UV_FIND_LINKS": "PIP_FIND_LINKS", "UV_DEFAULT_INDEX": "PIP_INDEX_URL"}  # uv uses pip's settings
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
    """A step that failed."""


def run(command: Sequence[str | Path], folder: Path, fails: bool = False, seconds: float = 600) -> str:
    """Output of ``command`` in ``folder``, without the clone in its environment; Failed for an unexpected status."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    variables |= {"QT_QPA_PLATFORM": "offscreen", "XDG_DATA_HOME": str(folder / "data")}
    for uv_name, pip_name in UV_AS_PIP.items():
        if pip_name in variables:
            variables.setdefault(uv_name, variables[pip_name])
    result = subprocess.run(
        [str(part) for part in command], cwd=folder, env=variables, capture_output=True, text=True, timeout=seconds
    )
    if (result.returncode != 0) is not fails:
        raise Failed(f"{' '.join(map(str, command))[:200]}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}")
    return result.stderr if fails else result.stdout


def build(out: Path) -> Path:
    """Build the sdist, and the wheel from it; returns the wheel."""
    for older in out.glob("sdgui-*"):
        older.unlink()
    run([find_uv_bin(), "build", "-q", "--out-dir", out, ROOT], out)
    wheel = next(out.glob("sdgui-*.whl"))
    check_names(wheel)
    return wheel


def check_names(wheel: Path) -> None:
    """Check that the wheel has no other top-level packages, and all resources that the program reads."""
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names} - {"core", "sdgui"}
    if any(not name.endswith(".dist-info") for name in top):
        raise Failed(f"the wheel installs other top-level names than core and sdgui: {sorted(top)}")
    required = {f"sdgui/{path.relative_to(ROOT)}" for path in (ROOT / "resources").rglob("*") if path.is_file()}
    left_out = {"screenshots", "adapting", "caption-filter", "__pycache__"}
    missing = {name for name in required if left_out.isdisjoint(name.split("/"))} - set(names)
    if missing or "sdgui/resources/docs/panels/search.md" not in names:
        raise Failed(f"the wheel lacks {sorted(missing) or 'the pages of docs/'}")


def install(wheel: Path, extra: str, folder: Path) -> Path:
    """Install the wheel in a fresh environment; returns its ``bin`` folder."""
    uv, environment = find_uv_bin(), folder / "environment"
    run([uv, "venv", "-q", "--python", sys.executable, environment], folder)
    requirement = f"sdgui{extra} @ {wheel.as_uri()}"
    run([uv, "pip", "install", "-q", "--python", environment / "bin" / "python", requirement], folder, seconds=1800)
    return environment / "bin"


def check_window_alone(wheel: Path, folder: Path) -> None:
    """Check that the window without torch is small, opens, and reports that the trainer is missing."""
    bin_ = install(wheel, "", folder)
    size = sum(file.lstat().st_size for file in (folder / "environment").rglob("*") if not file.is_dir())
    print(f"the window alone takes {size / 1000**2:.0f} MB")
    if size > MAX_BYTES:
        raise Failed(f"the window alone takes {size / 1000**2:.0f} MB, more than {MAX_BYTES / 1000**2:.0f}")
    output = run([bin_ / "python", "-P", "-X", "faulthandler", "-c", WINDOW, folder / "home"], folder)
    if "The trainer is not installed" not in output:
        raise Failed(f"the window without the trainer reports something else: {output}")
    run([bin_ / "sdgui-core", "presets"], folder)
    output = run([bin_ / "sdgui-core", "demo-data", "pairs"], folder, fails=True)
    if "is not installed on this computer" not in output or "Traceback" in output:
        raise Failed(f"a command without its packages reports something else: {output}")
    report = json.loads(run([bin_ / "sdgui-core", "doctor", "--json"], folder))
    missing = [check["name"] for check in report["checks"] if check["state"] == "optional"]
    print(f"without the trainer it opens, and lists missing parts: {', '.join(missing)}")


def check_demo(wheel: Path, folder: Path) -> None:
    """Check the window on the demo, demo data, a tiny training and an export, from the wheel alone."""
    start = time.monotonic()
    bin_ = install(wheel, "[demo]", folder)
    install_end = time.monotonic()
    output = run([bin_ / "python", "-P", "-X", "faulthandler", "-c", WINDOW, folder / "home"], folder).split()
    took = time.monotonic() - start
    if output[-2:] != ["3", "0"]:
        raise Failed(f"the window on the demo shows other experiments or empty panels: {output}")
    verdict = "" if took <= EXPECTED_SECONDS else f", more than {EXPECTED_SECONDS:.0f}: were the caches warm?"
    print(f"wheel to window with the demo: {took:.1f} s, {install_end - start:.1f} of it installing{verdict}")
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
    """Exit status 0 if all checks pass."""
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
