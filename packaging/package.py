"""Stage the files of a .deb and an .rpm, build both with nfpm, and lint them.

    .venv/bin/python packaging/package.py OUT [--wheel WHEEL]

``OUT/stage`` then has ``usr/``: launchers, menu entry, icons, metainfo, MIME type, changelog, man pages (if Sphinx has
written them to ``OUT/man``) and the wheel, which the first start installs with uv. nfpm builds both packages from it
(packaging/nfpm.yaml). Runs the installed linters among desktop-file-validate, appstreamcli, lintian and rpmlint. Exit
status 1 if one of them complains.
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
FOLDERS = ("/usr/share/sdgui", "/usr/share/doc/sdgui")  # owned by the package
MAINTAINER = "The sdgui authors <sdgui@users.noreply.github.com>"
_DATED = re.compile(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d{2}-\d{2})\)$", re.MULTILINE)


def version() -> str:
    """The version in pyproject.toml."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def stage(out: Path, wheel: Path) -> Path:
    """Stage ``usr/`` in a new folder ``out/stage``, which is returned."""
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
    """The versions of the changelog in Debian's format; the changes are in NEWS."""
    entries = []
    for number, day in _DATED.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")):
        signed = format_datetime(datetime.fromisoformat(day).replace(tzinfo=UTC))
        entry = "  * See /usr/share/doc/sdgui/NEWS.gz."
        entries.append(f"sdgui ({number}) unstable; urgency=medium\n\n{entry}\n\n -- {MAINTAINER}  {signed}\n")
    return "\n".join(entries)


def build(kind: str, stage_: Path, out: Path) -> Path:
    """Build the package of ``kind`` ("deb", "rpm") from ``stage_`` with nfpm."""
    nfpm = shutil.which("nfpm", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if nfpm is None:
        raise SystemExit('nfpm is not installed; add it with: pip install "sdgui[test]"')
    recipe = out / "nfpm.yaml"
    recipe.write_text((HERE / "nfpm.yaml").read_text(encoding="utf-8") + _contents(kind, stage_), encoding="utf-8")
    command = [nfpm, "package", "-f", str(recipe), "-p", kind, "-t", str(out)]
    subprocess.run(command, check=True, env=os.environ | {"VERSION": version()}, stdout=subprocess.DEVNULL)
    return max(out.glob(f"*.{kind}"), key=lambda file: file.stat().st_mtime)


def _contents(kind: str, stage_: Path) -> str:
    """Every file for nfpm's recipe, since most folders belong to the system. Only rpm distinguishes documents."""
    lines = ["contents:", *(f"  - {{dst: {folder}, type: dir}}" for folder in FOLDERS)]
    for file in sorted(filter(Path.is_file, stage_.rglob("*"))):
        place = f"/{file.relative_to(stage_).as_posix()}"
        document = kind == "rpm" and place.startswith(("/usr/share/doc/", "/usr/share/man/"))
        lines.append(f'  - {{src: "{file}", dst: "{place}"{", type: doc" if document else ""}}}')
    return "\n".join(lines) + "\n"


def lint(stage_: Path, deb: Path, rpm: Path) -> list[str]:
    """Complaints of the linters; linters that are not installed are skipped with a message."""
    share = stage_ / "usr" / "share"
    commands = [
        ["desktop-file-validate", str(share / "applications" / "sdgui.desktop")],
        ["appstreamcli", "validate", "--no-net", str(share / "metainfo" / METAINFO)],
        ["lintian", "--fail-on", "error,warning", str(deb)],
        ["rpmlint", "--strict", "--config", str(HERE / "rpmlint.toml"), str(rpm)],
    ]
    complaints = []
    for command in commands:
        if shutil.which(command[0]) is None:
            print(f"{command[0]} is not installed; skipped")
            continue
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        print(f"{command[0]}: {'ok' if result.returncode == 0 else 'complains'}")
        if result.returncode:
            complaints.append(f"{command[0]}: {result.stdout}{result.stderr}")
    return complaints + _release()


def _release() -> list[str]:
    """Complaints unless changelog, metainfo and CITATION.cff have the version and date of the release."""
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
    """Exit status 0 if no linter complains."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--wheel", type=Path, help="the wheel to package (default: build it)")
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
    complaints = lint(folder, deb, rpm)
    print("\n".join(complaints), file=sys.stderr if complaints else sys.stdout)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
