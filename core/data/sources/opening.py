"""Where pairs come from: one ``open_source`` for every format users have.

Flow: ``data.train`` and its like name a file or folder; ``open_source`` turns it into rows (an image's path and its
captions) and bad rows (skipped, each with its reason); the data set goes on from there. Only names are read
here, no image is opened.

Paths from a manifest stay inside its folder, or inside ``images_root``. What is confined is what a manifest says:
a symbolic link *within* the folder is followed, because data folders are commonly made of links.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.data.errors import BadRow, DataError, check_bad_share, listing
from core.data.sources.coco import read_json
from core.data.sources.folders import read_folder
from core.data.sources.manifests import read_json_lines, read_table
from core.data.sources.rows import Row, Source
from core.data.sources.shards.collection import Progress, check_shards_there
from core.data.sources.shards.source import read_shards
from core.spec.config import expand_user
from core.spec.reading import excerpt
from core.spec.shards import is_shards, may_be_there

__all__ = ["BadRow", "DataError", "Row", "Source", "check_bad_share", "listing", "open_source"]

FORMATS = (
    "a CSV or TSV file with columns filepath and title, a JSON lines file, a COCO captions JSON, "
    "a folder of class folders, a folder of images with .txt files, or shards (tars, as in shards/{000..099}.tar)"
)
READERS: dict[str, Callable[[Path, Path | None], Source]] = {
    ".csv": read_table,
    ".tsv": read_table,
    ".tab": read_table,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
}


def open_source(path: str | Path, *, images_root: str | Path | None = None, progress: Progress | None = None) -> Source:
    """The rows of the file, folder or shards at ``path``; its format is found by its name and content.

    ``progress`` hears of shards, whose headers may have to be read.
    ``images_root``: the folder that a manifest's paths are relative to and must stay in, instead of its own.

    Raises DataError, in one sentence with the remedy: nothing there, empty, wrong columns, unknown format,
    a mixture of formats, every row bad.
    """
    if not str(path).strip():
        raise DataError(f"No data is named; give {FORMATS}.")
    if is_shards(path):
        return _checked(read_shards(str(path), progress))
    path = expand_user(path)
    root = expand_user(images_root) if images_root is not None else None
    try:
        source = _read(path, root)
    except OSError as error:
        raise DataError(
            f"Cannot read the data {excerpt(str(error.filename or path))}: {error.strerror or error}."
        ) from error
    return _checked(source)


def check_there(path: str | Path) -> None:
    """DataError when there is nothing at ``path``; of shards, when one that is named is not there. Nothing is read."""
    if is_shards(path):
        check_shards_there(str(path))
    elif not may_be_there(str(path)):
        raise _nothing_at(expand_user(path))


def _nothing_at(path: Path) -> DataError:
    return DataError(f"There is no data at {path}; check the path, or give {FORMATS}.")


def _checked(source: Source) -> Source:
    if not source.rows and not source.bad:
        raise DataError(f"{source.origin} ({source.format}) is empty: it names no image; give {FORMATS}.")
    check_bad_share(source.origin, source.bad, len(source.rows) + len(source.bad), 1.0)
    return source


def _read(path: Path, root: Path | None) -> Source:
    if root is not None and not root.is_dir():
        raise DataError(f"The images' folder {root} does not exist; name the folder that holds the images.")
    if path.is_dir():
        return read_folder(path)
    if not path.exists():
        raise _nothing_at(path)
    if not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder; give {FORMATS}.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} has the unknown format {path.suffix or 'without an extension'!r}; give {FORMATS}.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; give {FORMATS}.")
    return reader(path, root)
