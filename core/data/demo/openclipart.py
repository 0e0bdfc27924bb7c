"""Images by other artists in categories, for a probe that asks what carries over: Debian's ``openclipart-png``.

Flow: a study names ``openclipart:train.csv``, ``openclipart:test.csv`` -> ``core.studies.study.data`` ->
**openclipart** reads the package's folder, or one that is laid out alike, and writes both, with small images, into
the study's folder.

A folder right below the top is a category, with all that is nested in it. The package holds many images several
times, as links and as copies: each counts once, and none that lies in two categories, for it has no one right answer.
Categories with fewer than 60 images are left out. In each, the half of the images whose names have the lower
SHA-256 is for training, the others for the test; images of one series may be in both.

Images: https://openclipart.org, public domain.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from core.data.demo.openmoji import SIZE
from core.data.errors import BadRow, ImageError
from core.data.images import Pixels, decode
from core.data.sources.opening import open_source
from core.data.sources.rows import Row
from core.spec.cells import marked_row
from core.spec.config import DataConfig
from core.spec.errors import UserError
from core.spec.files import write_whole

USUAL = Path("/usr/share/openclipart/png")  # where the package has them
LEAST = 60  # images of a category
NO_CATEGORY = ("unsorted",)
FACTS = "openclipart.json"  # written last: what is written is whole when it is there
IMAGES = "images"
MOST_THREADS = 2  # the largest images take more than a gigabyte each while they are decoded

Log = Callable[[str], None]
Kept = dict[str, dict[str, str]]  # category -> name below the top -> small image
ClipartImage = tuple[str, str, str]  # small image, category, name below the top


def write_openclipart(source: Path, folder: Path, log: Log) -> None:
    """Write ``train.csv``, ``test.csv``, what is in them (``openclipart.json``) and images into ``folder``.

    Images are as large as the demo set's, on white as everywhere. What a killed attempt has decoded is used again.
    Raises UserError when ``source`` is not there or has not two categories.
    """
    if not source.is_dir():
        raise UserError(missing(source))
    rows = [row for row in open_source(source).rows if row.labels.get("class", NO_CATEGORY[0]) not in NO_CATEGORY]
    log(f"shrinking {len(rows)} images of {source}")
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    found, bad = _read(rows, folder)
    once, left_out = _once(source, found, folder)
    kept = {name: some for name, some in sorted(once.items()) if len(some) >= LEAST}
    if len(kept) < 2:
        raise UserError(
            f"{source} has not two category folders with {LEAST} images each; name another folder with --openclipart."
        )
    train, test = _halves(kept)
    for name, half in (("train", train), ("test", test)):
        write_whole(folder / f"{name}.csv", _table(half))
    facts = {
        "source": str(source),
        "files": len(rows),
        "categories": {name: len(some) for name, some in kept.items()},
        "train": len(train),
        "test": len(test),
        "in several categories": left_out,
        "too small": {name: len(some) for name, some in sorted(once.items()) if name not in kept},
        "unreadable": [str(one) for one in bad],
    }
    write_whole(folder / FACTS, (json.dumps(facts, indent=1, ensure_ascii=True) + "\n").encode())
    log(f"{len(kept)} categories, {len(train)} images to train and {len(test)} to test a probe with")
    if bad:
        log(f"{len(bad)} images cannot be read, such as {bad[0]}; all are listed in {folder / FACTS}")


def missing(source: Path = USUAL) -> str:
    """What to do when there are no images at ``source``."""
    return (
        f"there are no images at {source}; install Debian's package openclipart-png, or name another folder of "
        "category folders with --openclipart, and start the study again: only this part runs then."
    )


def _read(rows: Sequence[Row], folder: Path) -> tuple[list[tuple[Row, str]], list[BadRow]]:
    """Each readable row with its small image, ``images/CONTENT.png``, which is written; and the other rows."""
    found: list[tuple[Row, str]] = []
    bad: list[BadRow] = []
    pool = ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1))
    try:
        for row, made in zip(rows, pool.map(lambda row: _made(row.image, folder), rows), strict=True):
            if isinstance(made, ImageError):
                bad.append(BadRow(row.file, str(made)))
                continue
            name, pixels = made
            if pixels is not None and not (folder / name).exists():
                png = io.BytesIO()
                Image.fromarray(pixels).save(png, "PNG")
                write_whole(folder / name, png.getvalue())
            found.append((row, name))
    finally:
        pool.shutdown(cancel_futures=True)
    return found, bad


def _made(file: Path, folder: Path) -> tuple[str, Pixels | None] | ImageError:
    """What the small image of ``file`` is called, by the content of ``file``, and its pixels unless it is there."""
    try:
        name = f"{IMAGES}/{hashlib.sha256(file.read_bytes()).hexdigest()[:32]}.png"
        return name, None if (folder / name).exists() else decode(file, SIZE, DataConfig().max_megapixels)
    except ImageError as error:
        return error
    except OSError as error:
        return ImageError(error.strerror or str(error))


def _once(source: Path, found: Sequence[tuple[Row, str]], folder: Path) -> tuple[Kept, int]:
    """Each content under its first name; and how many contents were left out, as they lie in several categories.

    Images are the same when they are pixel by pixel, small as they are.
    """
    same: dict[bytes, list[tuple[Row, str]]] = defaultdict(list)
    for row, small in found:
        same[hashlib.sha256((folder / small).read_bytes()).digest()].append((row, small))
    kept: Kept = defaultdict(dict)
    left_out = 0
    for copies in same.values():
        row, small = copies[0]
        if len({other.labels["class"] for other, _ in copies}) > 1:
            left_out += 1
            continue
        kept[row.labels["class"]][row.image.relative_to(source.absolute()).as_posix()] = small
    return kept, left_out


def _halves(kept: Kept) -> tuple[list[ClipartImage], list[ClipartImage]]:
    """For training and for the test: in each category by the SHA-256 of the names, which depends on nothing else."""
    train: list[ClipartImage] = []
    test: list[ClipartImage] = []
    for category, images in kept.items():
        names = sorted(images, key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest())
        for index, name in enumerate(names):
            half = train if index < len(names) // 2 else test
            half.append((images[name], category, name))
    return train, test


def _table(half: Sequence[ClipartImage]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["filepath", "title", "category", "original"])
    rows = ([small, category.replace("_", " "), category, name] for small, category, name in half)
    writer.writerows(map(marked_row, rows))
    return text.getvalue().encode("utf-8", "surrogateescape")
