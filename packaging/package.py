"""Lay out what a .deb and an .rpm hold, build both with nfpm, and lint them.

    .venv/bin/python packaging/package.py OUT [--wheel WHEEL]

``OUT/stage`` then has ``usr/``: launchers, menu entry, icons, metainfo, MIME type, changelog and the wheel, which the
first start installs with uv; man pages too where Sphinx has written them into ``OUT/man``. nfpm makes both packages of
it (packaging/nfpm.yaml). Linters run where they are installed: desktop-file-validate, appstreamcli, lintian, rpmlint.
Exit status 1 when one of them complains.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from uv import find_uv_bin

from sdgui.app.desktop import METAINFO, write_entry

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
COMMANDS = ("sdgui", "sdgui-core")
FOLDERS = ("/usr/share/sdgui", "/usr/share/doc/sdgui")  # that are the package's own
MAINTAINER = "The sdgui authors <sdgui@users.noreply.github.com>"
_DATED = re.compile(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d{2}-\d{2})\)$", re.MULTILINE)


def version() -> str:
    """The version, from its one place."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def stage(out: Path, wheel: Path) -> Path:
    """Lay out ``usr/`` under ``out/stage`` anew; that folder."""
    folder = out / "stage"
    shutil.rmtree(folder, ignore_errors=True)
    share = folder / "usr" / "share"
    write_entry(share, "sdgui")
    launcher = (HERE / "launcher.sh").read_text(encoding="utf-8").replace("@VERSION@", version())
    for command in COMMANDS:
        _write(folder / "usr" / "bin" / command, launcher.encode(), 0o755)
    _write(share / "sdgui" / wheel.name, wheel.read_bytes())
    documents = share / "doc" / "sdgui"
    _write(documents / "copyright", _copyright().encode())
    _write(documents / "changelog.gz", gzip.compress(_debian_changelog().encode(), 9, mtime=0))
    _write(documents / "NEWS.gz", gzip.compress((ROOT / "CHANGELOG.md").read_bytes(), 9, mtime=0))
    for page in sorted((out / "man").glob("*.1")):
        _write(share / "man" / "man1" / f"{page.name}.gz", gzip.compress(page.read_bytes(), 9, mtime=0))
    for folder_ in (folder, *filter(Path.is_dir, folder.rglob("*"))):
        folder_.chmod(0o755)
    return folder


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _copyright() -> str:
    head = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
    source = "Source: https://github.com/sdgui/sdgui\n\n"
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    owner = next(line for line in licence.splitlines() if line.startswith("Copyright"))
    body = "\n".join(f" {line}" if line else " ." for line in licence.splitlines() if not line.startswith("Copyright"))
    return f"{head}{source}Files: *\nCopyright: {owner.removeprefix('Copyright ')}\nLicense: Expat\n{body}\n"


def _debian_changelog() -> str:
    """The versions of the changelog as Debian's tools read them; what changed is in NEWS."""
    entries = []
    for number, day in _DATED.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")):
        signed = format_datetime(datetime.fromisoformat(day).replace(tzinfo=UTC))
        told = "  * What changed is in /usr/share/doc/sdgui/NEWS.gz."
        entries.append(f"sdgui ({number}) unstable; urgency=medium\n\n{told}\n\n -- {MAINTAINER}  {signed}\n")
    return "\n".join(entries)


def build(kind: str, stage_: Path, out: Path) -> Path:
    """The package of ``kind`` ("deb", "rpm") by nfpm, with what is laid out in ``stage_``."""
    nfpm = shutil.which("nfpm", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if nfpm is None:
        raise SystemExit('nfpm is not installed; add it with: pip install "sdgui[test]"')
    recipe = out / "nfpm.yaml"
    recipe.write_text((HERE / "nfpm.yaml").read_text(encoding="utf-8") + _contents(kind, stage_), encoding="utf-8")
    command = [nfpm, "package", "-f", str(recipe), "-p", kind, "-t", str(out)]
    subprocess.run(command, check=True, env=os.environ | {"VERSION": version()}, stdout=subprocess.DEVNULL)
    return max(out.glob(f"*.{kind}"), key=lambda file: file.stat().st_mtime)


def _contents(kind: str, stage_: Path) -> str:
    """Every file for nfpm's recipe, one by one: most folders are the system's. Only rpm tells documents from files."""
    lines = ["contents:", *(f"  - {{dst: {folder}, type: dir}}" for folder in FOLDERS)]
    for file in sorted(filter(Path.is_file, stage_.rglob("*"))):
        place = f"/{file.relative_to(stage_).as_posix()}"
        document = kind == "rpm" and place.startswith(("/usr/share/doc/", "/usr/share/man/"))
        lines.append(f'  - {{src: "{file}", dst: "{place}"{", type: doc" if document else ""}}}')
    return "\n".join(lines) + "\n"


def lint(stage_: Path, deb: Path, rpm: Path) -> list[str]:
    """What the linters complain of; one that is not installed is named on stdout and passed over."""
    share = stage_ / "usr" / "share"
    commands = [
        ["desktop-file-validate", str(share / "applications" / "sdgui.desktop")],
        ["appstreamcli", "validate", "--no-net", str(share / "metainfo" / METAINFO)],
        ["lintian", "--fail-on", "error,warning", str(deb)],
        ["rpmlint", "--strict", "--config", str(HERE / "rpmlint.toml"), str(rpm)],
    ]
    wrong = []
    for command in commands:
        if shutil.which(command[0]) is None:
            print(f"{command[0]} is not installed; passed over")
            continue
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        print(f"{command[0]}: {'well' if done.returncode == 0 else 'complains'}")
        if done.returncode:
            wrong.append(f"{command[0]}: {done.stdout}{done.stderr}")
    return wrong + _release()


def _release() -> list[str]:
    """The version is the newest of the changelog, of the metainfo and of CITATION.cff, on the same day."""
    metainfo = (ROOT / "resources" / "desktop" / METAINFO).read_text(encoding="utf-8")
    dated = _DATED.search((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if dated is None or dated[1] != version():
        return [f"CHANGELOG.md: its newest version is not {version()}"]
    if f'<release version="{dated[1]}" date="{dated[2]}"/>' not in metainfo:
        return [f"{METAINFO}: it has no release {dated[1]} of {dated[2]}"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    if f"version: {dated[1]}\ndate-released: {dated[2]}\n" not in citation:
        return [f"CITATION.cff: it is not of {dated[1]}, {dated[2]}"]
    return []


def main() -> int:
    """Exit status 0 when no linter complains."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--wheel", type=Path, help="the wheel to put in (default: it is built)")
    arguments = parser.parse_args()
    out, wheel = arguments.out.absolute(), arguments.wheel
    out.mkdir(parents=True, exist_ok=True)
    if wheel is None:
        subprocess.run([find_uv_bin(), "build", "-q", "--wheel", "--out-dir", out, ROOT], check=True)
        wheel = out / f"sdgui-{version()}-py3-none-any.whl"
    folder = stage(out, wheel)
    deb, rpm = (build(kind, folder, out) for kind in ("deb", "rpm"))
    for package in (deb, rpm):
        print(f"{package.name}: {package.stat().st_size / 1000**2:.1f} MB")
    wrong = lint(folder, deb, rpm)
    print("\n".join(wrong), file=sys.stderr if wrong else sys.stdout)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
