"""Reads JSON files: COCO captions, or a plain list of records.

Flow: ``open_source`` calls ``read_json`` for ``.json``. In COCO's layout, annotations and images are in sibling
folders, so images are looked up next to the file and next to the file's folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.data.errors import DataError, json_problem
from core.data.sources.manifests import add_record, check_keys, is_text, open_text, quote_names
from core.data.sources.rows import RowBuilder, Source, confine, is_file, roots_of
from core.spec.reading import excerpt

MAX_JSON_BYTES = 1 << 30  # the file is read into memory
MAX_PROBED = 50  # images looked up in each candidate folder


def read_json(path: Path) -> Source:
    """Read COCO captions (an object with ``images`` and ``annotations``), or a list of objects like JSON lines."""
    try:
        with open_text(path, MAX_JSON_BYTES) as file:
            if file.read(1 << 16).lstrip()[:1] not in ("", "[", "{"):  # checked before the whole file is in memory
                raise ValueError("the file does not begin with [ or {")
            file.seek(0)
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        hint = "; rename the file to .jsonl if it has one object per line" if "Extra data" in str(error) else ""
        raise DataError(f"{path} is not JSON: {json_problem(error)}{hint}.") from error
    if isinstance(content, list):
        return _read_list(path, content)
    if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ("images", "annotations")):
        return read_coco(path, content["images"], content["annotations"])
    layout = quote_names(list(content)) if isinstance(content, dict) else type(content).__name__
    raise DataError(
        f"{path} has {layout or 'no keys'}, but COCO captions need the lists 'images' and 'annotations'; use a "
        "captions_*.json, or a list of objects."
    )


def _read_list(path: Path, records: Sequence[Any]) -> Source:
    builder = RowBuilder(str(path), path.parent)
    names: dict[str, None] = {}
    seen_keys: set[str] = set()
    for number, record in enumerate(records, 1):
        add_record(builder, record, number, names, seen_keys)
    check_keys(path, builder, seen_keys)
    return builder.finish("JSON list", tuple(names))


def read_coco(path: Path, images: Sequence[Any], annotations: Sequence[Any]) -> Source:
    """Captions joined to their images by ``image_id``."""
    captions: dict[Any, list[str]] = {}
    unknown: list[Any] = []
    files = _files(images)
    for annotation in annotations:
        image = annotation.get("image_id") if isinstance(annotation, dict) else None
        text = annotation.get("caption") if isinstance(annotation, dict) else None
        if not isinstance(image, (int, str)) or image not in files:
            unknown.append(image)
        elif isinstance(text, str) and is_text(text):
            captions.setdefault(image, []).append(text)
    if annotations and not captions and not unknown:
        raise DataError(f"{path} contains no captions; use COCO's captions_*.json, not instances or keypoints.")
    root = _images_folder(path, [name for name in files.values() if name][:MAX_PROBED])
    builder = RowBuilder(str(path), root)
    for image, name in files.items():
        location = f"{path}, image {excerpt(image if isinstance(image, str) else repr(image))}"
        if name is None or not is_text(name):
            builder.reject(0, "the image has no file_name", location)
        elif image not in captions:
            builder.reject(0, f"{excerpt(name)} has no caption", location)
        else:
            builder.add(name, captions[image], {}, 0, location)
    for image in unknown:
        builder.reject(0, f"a caption refers to the unlisted image {excerpt(image)!r}", f"{path}, annotations")
    return builder.finish("COCO captions")


def _files(images: Sequence[Any]) -> dict[Any, str | None]:
    """Image id -> file name; None if the image has no file name."""
    files: dict[Any, str | None] = {}
    for position, image in enumerate(images):
        entry = image if isinstance(image, dict) else {}
        name = entry.get("file_name")
        identity = entry.get("id")
        key = identity if isinstance(identity, (int, str)) else f"(number {position + 1}, without an id)"
        files[key] = name if isinstance(name, str) else None
    return files


def _images_folder(path: Path, names: Sequence[str]) -> Path:
    """The candidate folder that contains most of ``names``; the folder of ``path`` if no candidate contains any."""

    def count_images(folder: Path) -> int:
        return sum(_exists(name, folder) for name in names)

    return max(_candidates(path), key=count_images)  # the nearest folder in case of a tie


def _exists(name: str, folder: Path) -> bool:
    try:
        return is_file(confine(name, roots_of(folder)))
    except ValueError:
        return False


def _candidates(path: Path) -> Iterator[Path]:
    """Possible image folders of a COCO-like layout, nearest first: ``captions_val2017`` -> ``val2017``."""
    split = path.stem.rpartition("_")[2]
    for base in (path.parent, path.parent.parent):
        for inner in ("", "images", split, f"images/{split}", f"{split}/images", f"{split}_images"):
            folder = base / inner
            if folder.is_dir():
                yield folder
