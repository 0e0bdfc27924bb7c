"""Saves part of a source as a new source: a selection, clean pairs, or a part held out for validation.

Flow: Data panel, Clean panel, data card or ``python -m core data`` -> ``save_subset`` or ``hold_out`` -> a CSV, and its
provenance next to it (``NAME.provenance.json``).

Images are not copied. A manifest may only refer to files below its own folder, so a manifest in another folder gets a
symbolic link to the images.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from core.data.derived.manifest import MANIFEST_SUFFIX, check_target, labels_of, manifest, write_with_record
from core.data.derived.names import folder_of, names_below
from core.data.errors import ImageError
from core.data.images import file_size, image_bytes
from core.data.sources.opening import open_source
from core.data.sources.rows import Row, Source
from core.spec.config import expand_user
from core.spec.errors import UserError, writing
from core.spec.reporter import Progress
from core.spec.shards import is_shards

PROVENANCE = ".provenance.json"


@dataclass(frozen=True)
class SavedManifest:
    """A manifest that was written."""

    path: Path
    images: int
    captions: int


def save_subset(
    data: str,
    target: Path,
    progress: Progress,
    excluded: Collection[str] = (),
    selected: Collection[str] = (),
    replace: bool = False,
    excluded_pairs: Collection[tuple[str, str]] = (),
) -> SavedManifest:
    """Write the rows of ``data`` to the manifest ``target``.

    The images ``excluded`` (paths) are left out. If there are any ``selected`` images (paths), all others are left out
    too. Of ``excluded_pairs`` (path, caption) only the caption is left out; other captions of the image are kept.
    Raises UserError if no row would be left, if any of the images is not in ``data``, or if ``target`` cannot be
    written, exists (unless ``replace``), is ``data`` itself, or does not end with .csv.
    """
    check_target(target, data, replace)
    source = open_source(data, progress=progress)
    left_out, kept, left_out_pairs = frozenset(excluded), frozenset(selected), frozenset(excluded_pairs)
    unknown = (left_out | kept) - {row.file for row in source.rows}
    if unknown:
        raise UserError(f"{data} has no image {min(unknown)}; open the data again, and repeat the selection.")
    rows = []
    for row in source.rows:
        captions = tuple(caption for caption in row.captions if (row.file, caption) not in left_out_pairs)
        if captions and row.file not in left_out and (not kept or row.file in kept):
            rows.append(dataclasses.replace(row, captions=captions))
    if not rows:
        raise UserError(f"no pair of {data} would be left; exclude fewer pairs.")
    return write_rows(source, rows, target, {"how": "selection", "left out": len(source.rows) - len(rows)})


def hold_out(
    data: str, share: float, seed: int, progress: Progress, folder: Path | None = None
) -> tuple[SavedManifest, SavedManifest]:
    """Write ``data`` as two manifests: a training part, and a held-out ``share`` of its images, drawn with ``seed``.

    Copies of an image (the same bytes) stay in one part, so that nothing leaks. The manifests are written to
    ``folder``, by default the folder that contains both the images and the source; a number is added to names that
    exist. Raises UserError if a part would be empty or cannot be written.
    """
    if not 0.0 < share < 1.0:
        raise UserError(f"the share to hold out must be between 0 and 1, not {share}.")
    source = open_source(data, progress=progress)
    copies = same_bytes([row.file for row in source.rows], progress)
    is_held_out = _draw_held_out(copies, share, seed)
    parts = [
        [row for row, held_out in zip(source.rows, is_held_out, strict=True) if held_out == part]
        for part in (False, True)
    ]
    if not all(parts):
        raise UserError(
            f"too few of the {len(source.rows)} images of {data} are distinct to hold out {share:.0%}; use more data."
        )
    home, stem = folder or folder_above(source, data), stem_of(data)
    train_path, held_out_path = free_names(home, (f"{stem}-train", f"{stem}-held-out"))
    details = {"how": "held out", "share": share, "seed": seed}
    return (
        write_rows(source, parts[0], train_path, {**details, "other part": held_out_path.name}),
        write_rows(source, parts[1], held_out_path, {**details, "other part": train_path.name}),
    )


def write_rows(source: Source, rows: Sequence[Row], target: Path, details: Mapping[str, Any]) -> SavedManifest:
    """Write ``rows`` of ``source`` as the manifest ``target``, and next to it their provenance with ``details``."""
    labels = source.label_names
    with writing(target):
        names = names_below([row.file for row in rows], target.parent)
    named_rows = zip(names, rows, strict=True)
    pairs = [(name, caption, labels_of(row, labels)) for name, row in named_rows for caption in row.captions]
    content, captions = manifest(pairs, labels), len(pairs)
    origin = {"source": source.origin, "format": source.format, "images of the source": len(source.rows)}
    provenance = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": f"sdgui {version('sdgui')}",
        **origin,
        **details,
        "images": len(rows),
        "captions": captions,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    text = json.dumps(provenance, indent=2, ensure_ascii=False)
    with writing(target):
        write_with_record(
            target, content, target.with_name(target.stem + PROVENANCE), text.encode("utf-8", "backslashreplace")
        )
    return SavedManifest(target, len(rows), captions)


def same_bytes(files: Sequence[str], progress: Progress) -> list[int]:
    """For each of ``files`` the position of the first file with the same bytes.

    Only files of equal size are read; an unreadable file counts as different from all others.
    """
    sizes: dict[int, list[int]] = {}
    for position, file in enumerate(files):
        sizes.setdefault(file_size(file), []).append(position)
    first = list(range(len(files)))
    same_size_groups = [group for size, group in sizes.items() if len(group) > 1 and size >= 0]
    total, compared = sum(map(len, same_size_groups)), 0
    for group in same_size_groups:
        seen: dict[bytes, int] = {}
        for position in group:
            if compared % 200 == 0:
                progress("looking for copies", compared, total)
            compared += 1
            try:
                digest = hashlib.blake2b(image_bytes(files[position]), digest_size=16).digest()
            except ImageError:
                continue
            first[position] = seen.setdefault(digest, position)
    return first


def folder_above(source: Source, data: str) -> Path:
    """The folder that contains both the images and the source: a manifest there needs no link."""
    base = Path(source.rows[0].file) if is_shards(data) else expand_user(data).absolute()
    base_folder = str(base) if base.is_dir() else str(base.parent)
    if is_shards(data):
        return Path(os.path.commonpath([folder_of(row.file) for row in source.rows]))
    return Path(os.path.commonpath([base_folder, *{folder_of(row.file) for row in source.rows}]))


def stem_of(data: str) -> str:
    """The stem for the names of files derived from ``data``."""
    name = Path(data.rstrip("/\\")).name if not is_shards(data) else "shards"
    stem = name.removesuffix(Path(name).suffix) if not expand_user(data).is_dir() else name
    return stem or "images"


def free_names(folder: Path, stems: Sequence[str]) -> list[Path]:
    """An unused file name for each of ``stems`` in ``folder``, all with the same number if one of the names exists."""
    for number in range(1, 10_000):
        candidates = [folder / f"{stem}{f'-{number}' if number > 1 else ''}{MANIFEST_SUFFIX}" for stem in stems]
        if not any(path.exists() for path in candidates):
            return candidates
    raise UserError(f"{folder} already has ten thousand parts of this data; remove some of them.")


def _draw_held_out(first: Sequence[int], share: float, seed: int) -> list[bool]:
    """Whether each image is held out, at random; images with the same ``first`` stay together."""
    members: dict[int, list[int]] = {}
    for position, key in enumerate(first):
        members.setdefault(key, []).append(position)
    groups = list(members.values())
    is_held_out, target, count = [False] * len(first), max(1, round(share * len(first))), 0
    for index in np.random.default_rng(seed).permutation(len(groups)).tolist():
        if count >= target:
            break
        if count + len(groups[index]) <= target or count == 0:
            count += len(groups[index])
            for position in groups[index]:
                is_held_out[position] = True
    return is_held_out
