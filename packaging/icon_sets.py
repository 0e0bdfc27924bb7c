"""Icon sets as image-caption pairs: the training data of the demo models and of the study ``adapt-time``.

    python packaging/icon_sets.py OUT [SET ...]

needs npm, and writes for each set ``OUT/SET.csv`` (filepath, title, concept, group) and its images below
``OUT/images/SET``. ``OUT/sources.json`` has versions, authors and licenses. Users of the program do not need it.

``OUT/concepts-*.csv`` are a split by concept instead of by artist, for the study ``adapt-concepts``: flags and symbols
(``new``) against everything else (``pretraining``, and ``retain``, which is held out).

A caption is the Unicode name of the emoji. Sets spell it differently ("koreaflag", "flag-for-south-korea"); an icon
that matches no Unicode name is captioned by the words of its identifier. Noto sets are refused: they are test data.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import subprocess
import sys
import tarfile
import unicodedata
from pathlib import Path
from typing import Any

import emoji
import resvg_py

from core.data.demo.emoji_names import parse_name

SETS = ("openmoji", "twemoji", "fluent-emoji-flat", "fluent-emoji", "emojione", "fxemoji", "icon-park", "game-icons")
CONCEPT_SETS = ("openmoji", "twemoji", "fluent-emoji-flat", "emojione")
NEW_GROUPS = ("flags", "symbols")
CONCEPTS_HELD_OUT = 1000
SIZE = 64  # pixels a side
COLUMNS = ("filepath", "title", "concept", "group")
_TONES = re.compile(r"-(medium-light|medium-dark|light|medium|dark)$")  # Fluent leaves out "skin tone"


def main() -> int:
    """Write the requested sets; returns the exit status."""
    parser = argparse.ArgumentParser(description="Render icon sets to image-caption pairs.")
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", nargs="*", default=SETS, metavar="SET")
    arguments = parser.parse_args()
    for name in arguments.sets:
        if name.startswith("noto"):
            print(f"{name} is test data and must not be trained on; leave it out.", file=sys.stderr)
            return 1
    packages = {name: _package(arguments.out / "npm", name) for name in arguments.sets}
    names = UnicodeNames()
    for name, (icons, info, codes) in packages.items():
        pairs = write_set(arguments.out, name, icons, names.titles(icons, codes))
        print(f"{name}: {pairs} pairs, {info['license']['spdx']}")
    sources = {
        name: {"version": info.get("version", ""), "author": info["author"], "license": info["license"]}
        for name, (_, info, _) in packages.items()
    }
    (arguments.out / "sources.json").write_text(json.dumps(sources, indent=1, ensure_ascii=False) + "\n")
    if set(CONCEPT_SETS) <= set(packages):
        split_by_concept(arguments.out)
    return 0


def split_by_concept(out: Path) -> None:
    """Write ``OUT/concepts-*.csv`` from those of `CONCEPT_SETS`."""
    rows: dict[str, list[dict[str, str]]] = {"new.csv": [], "known": []}
    for name in CONCEPT_SETS:
        with (out / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                rows["new.csv" if row["group"] in NEW_GROUPS else "known"].append(row)
    known = rows.pop("known")
    random.Random(0).shuffle(known)
    rows |= {"retain.csv": known[:CONCEPTS_HELD_OUT], "pretraining.csv": known[CONCEPTS_HELD_OUT:]}
    for name, selected in rows.items():
        # A manifest must be in a folder above its images.
        with (out / f"concepts-{name}").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(selected)


def _package(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """``icons.json`` and ``info.json`` of an Iconify package, and the listed code points of its icons."""
    with tarfile.open(npm_archive(folder, f"@iconify-json/{name}")) as archive:

        def read(file: str) -> Any:
            member = archive.extractfile(f"package/{file}")
            assert member is not None
            return json.load(member)

        return read("icons.json"), read("info.json"), read("chars.json")


def npm_archive(folder: Path, package: str) -> Path:
    """The archive of an npm ``package`` in ``folder``, which is downloaded if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    pattern = f"{package.removeprefix('@').replace('/', '-')}-[0-9]*.tgz"
    if not list(folder.glob(pattern)):
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)
    return sorted(folder.glob(pattern))[-1]


class UnicodeNames:
    """Unicode names of emoji by code points, and by a name without spaces and punctuation."""

    def __init__(self) -> None:
        self._by_code: dict[str, str] = {}
        self._by_letters: dict[str, str] = {}
        for text, facts in emoji.EMOJI_DATA.items():
            title = facts["en"].strip(":").replace("_", " ")
            self._by_code.setdefault(_plain(text), title)
            older = [alias.strip(":") for alias in facts.get("alias", ())]
            if len(text) == 1:
                older.append(unicodedata.name(text, ""))
            for spelling in (title, title.partition(" (")[0], *older):
                self._by_letters.setdefault(letters(spelling), title)

    def titles(self, icons: dict[str, Any], codes: dict[str, str]) -> dict[str, str]:
        """The caption of each icon: its Unicode name by code points or identifier, else the words of the identifier."""
        by_id = {icon: self._by_code.get(code, "") for code, icon in codes.items()}
        return {icon: by_id.get(icon) or self.title(icon) for icon in icons["icons"]}

    def title(self, icon: str) -> str:
        """The Unicode name that matches the identifier ``icon``, or its words."""
        spellings = [icon, _TONES.sub(r"-\1-skin-tone", icon), icon.replace("flag-for-", "flag-")]
        if icon.endswith("flag"):
            spellings.append(f"flag-{icon.removesuffix('flag')}")
        titles = (self._by_letters.get(letters(spelling)) for spelling in spellings)
        return next(filter(None, titles), icon.replace("-", " "))


def letters(name: str) -> str:
    """A name without case, spaces, accents and punctuation."""
    plain = unicodedata.normalize("NFKD", name.casefold().replace("&", "and"))
    return "".join(char for char in plain if char.isalnum())


def _plain(text: str) -> str:
    """Code points as Iconify lists them: lower case, without variation selectors."""
    return "-".join(f"{ord(char):x}" for char in text if ord(char) != 0xFE0F)


def write_set(out: Path, name: str, icons: dict[str, Any], titles: dict[str, str]) -> int:
    """Render icons with distinct captions, on white, and write their manifest; returns their number."""
    folder = out / "images" / name
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, tuple[str, str, str, str]] = {}
    for icon, drawing in sorted(icons["icons"].items()):
        title = titles[icon]
        if title in rows or drawing.get("hidden"):
            continue
        file = folder / f"{icon}.png"
        if not file.exists():
            file.write_bytes(_render(icons, drawing))
        about = parse_name(_code(title), title)
        rows[title] = (f"images/{name}/{icon}.png", title, about.concept, about.group)
    with (out / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows.values())
    return len(rows)


def _code(title: str) -> str:
    """The code points of the emoji ``title``, for its group; those of an object if it is not an emoji."""
    text = emoji.emojize(f":{title.replace(' ', '_')}:")
    return "-".join(f"{ord(char):04X}" for char in text) if not text.startswith(":") else "1F4E6"


def _render(icons: dict[str, Any], drawing: dict[str, Any]) -> bytes:
    left, top, width, height = (
        drawing.get(side, icons.get(side, default))
        for side, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
    )
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}">{drawing["body"]}</svg>'
    )
    return bytes(
        resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE, background="#ffffff", skip_system_fonts=True)
    )


if __name__ == "__main__":
    sys.exit(main())
