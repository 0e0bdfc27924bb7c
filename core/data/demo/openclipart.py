"""Clip art in categories, by artists other than OpenMoji's, to measure transfer with linear probes.

Flow: a study uses ``openclipart:train.csv``, ``openclipart:test.csv`` -> ``core.studies.study.data`` ->
**openclipart** reads the folder of Debian's package ``openclipart-png``, or a folder with the same layout, and writes
both tables, with small images, into the study's folder.

A top-level folder is a category, including its subfolders. The package contains many images several times, as links and
as copies; each image counts once. Images in several categories, and categories with fewer than 60 images, are left out.
Each category is split in half by the SHA-256 of the images' names: the lower half is for training, the other half for
the test. Images of one series may be in both halves.

Images: https://openclipart.org, public domain.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from core.data.demo.emoji_names import IMAGES_FOLDER
from core.data.demo.openmoji import IMAGE_SIZE
from core.data.derived.manifest import manifest
from core.data.errors import BadRow, ImageError
from core.data.images import Pixels, decode
from core.data.sources.opening import open_source
from core.data.sources.rows import Row
from core.spec.config import DataConfig
from core.spec.errors import UserError
from core.spec.files import write_whole

DEFAULT_SOURCE = Path("/usr/share/openclipart/png")  # where Debian's package installs the images
MIN_CATEGORY_IMAGES = 60
UNSORTED = "unsorted"
COUNTS_FILE = "openclipart.json"  # written last: the data set is complete when it exists
MAX_THREADS = 2  # a thread may need more than a gigabyte for the largest images

Log = Callable[[str], None]
Categories = dict[str, dict[str, str]]  # category -> path relative to the source folder -> resized image
ClipartImage = tuple[str, str, str]  # resized image, category, path relative to the source folder


def write_openclipart(source: Path, folder: Path, log: Log) -> None:
    """Write ``train.csv``, ``test.csv``, their counts (``openclipart.json``) and images into ``folder``.

    Images are resized to the size of the demo set's images and placed on a white background. Images that an earlier,
    interrupted call wrote are reused.
    Raises UserError if ``source`` does not exist or has fewer than two categories.
    """
    if not source.is_dir():
        raise UserError(missing_source_message(source))
    rows = [row for row in open_source(source).rows if row.labels.get("class", UNSORTED) != UNSORTED]
    log(f"resizing {len(rows)} images of {source}")
    (folder / IMAGES_FOLDER).mkdir(parents=True, exist_ok=True)
    readable, bad_rows = _read(rows, folder)
    distinct, left_out = _remove_copies(source, readable, folder)
    categories = {name: images for name, images in sorted(distinct.items()) if len(images) >= MIN_CATEGORY_IMAGES}
    if len(categories) < 2:
        raise UserError(
            f"{source} has fewer than two category folders with {MIN_CATEGORY_IMAGES} images each; "
            "choose another folder with --openclipart."
        )
    train, test = _split_in_half(categories)
    for name, half in (("train", train), ("test", test)):
        table = [(small, category.replace("_", " "), (category, original)) for small, category, original in half]
        write_whole(folder / f"{name}.csv", manifest(table, ("category", "original")))
    counts = {
        "source": str(source),
        "files": len(rows),
        "categories": {name: len(images) for name, images in categories.items()},
        "train": len(train),
        "test": len(test),
        "in several categories": left_out,
        "too small": {name: len(images) for name, images in sorted(distinct.items()) if name not in categories},
        "unreadable": [str(row_problem) for row_problem in bad_rows],
    }
    write_whole(folder / COUNTS_FILE, (json.dumps(counts, indent=1, ensure_ascii=True) + "\n").encode())
    log(f"{len(categories)} categories: {len(train)} training images and {len(test)} test images for probes")
    if bad_rows:
        log(f"{len(bad_rows)} images cannot be read, such as {bad_rows[0]}; all are listed in {folder / COUNTS_FILE}")


def missing_source_message(source: Path = DEFAULT_SOURCE) -> str:
    """The message for a missing ``source``, with the remedy."""
    return (
        f"there are no images at {source}; install Debian's package openclipart-png, or pass a folder with "
        "one subfolder per category as --openclipart. Then start the study again: only the missing part will run."
    )


def _read(rows: Sequence[Row], folder: Path) -> tuple[list[tuple[Row, str]], list[BadRow]]:
    """Write a small image for each row; returns (row, ``images/DIGEST.png``) of readable rows, and the bad rows."""
    readable: list[tuple[Row, str]] = []
    bad_rows: list[BadRow] = []
    pool = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1))
    try:
        for row, result in zip(rows, pool.map(lambda row: _read_small(row.image, folder), rows), strict=True):
            if isinstance(result, ImageError):
                bad_rows.append(BadRow(row.file, str(result)))
                continue
            name, pixels = result
            if pixels is not None and not (folder / name).exists():
                png = io.BytesIO()
                Image.fromarray(pixels).save(png, "PNG")
                write_whole(folder / name, png.getvalue())
            readable.append((row, name))
    finally:
        pool.shutdown(cancel_futures=True)
    return readable, bad_rows


def _read_small(file: Path, folder: Path) -> tuple[str, Pixels | None] | ImageError:
    """The name of the small image, from the digest of ``file``; and its pixels unless the image is already written."""
    try:
        name = f"{IMAGES_FOLDER}/{hashlib.sha256(file.read_bytes()).hexdigest()[:32]}.png"
        return name, None if (folder / name).exists() else decode(file, IMAGE_SIZE, DataConfig().max_megapixels)
    except ImageError as error:
        return error
    except OSError as error:
        return ImageError(error.strerror or str(error))


def _remove_copies(source: Path, readable: Sequence[tuple[Row, str]], folder: Path) -> tuple[Categories, int]:
    """The distinct images, each by its first path; and the number of images left out for being in several categories.

    Two images are copies if all pixels of their small versions are equal.
    """
    by_digest: dict[bytes, list[tuple[Row, str]]] = defaultdict(list)
    for row, small in readable:
        by_digest[hashlib.sha256((folder / small).read_bytes()).digest()].append((row, small))
    categories: Categories = defaultdict(dict)
    left_out = 0
    for copies in by_digest.values():
        row, small = copies[0]
        if len({copy_row.labels["class"] for copy_row, _ in copies}) > 1:
            left_out += 1
            continue
        categories[row.labels["class"]][row.image.relative_to(source.absolute()).as_posix()] = small
    return categories, left_out


def _split_in_half(categories: Categories) -> tuple[list[ClipartImage], list[ClipartImage]]:
    """Training images and test images: each category is split in half by the SHA-256 of the names."""
    train: list[ClipartImage] = []
    test: list[ClipartImage] = []
    for category, images in categories.items():
        names = sorted(images, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
        for index, name in enumerate(names):
            half = train if index < len(names) // 2 else test
            half.append((images[name], category, name))
    return train, test
