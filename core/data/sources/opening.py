"""Opens pairs of any supported format with ``open_source``.

Flow: the file or folder in ``data.train`` (and similar settings) -> ``open_source`` -> rows (an image's path and its
captions) and bad rows (skipped, each with its reason) for the data set. No image is opened here.

Paths in a manifest must stay inside its folder. This concerns the text of the paths only: a symbolic link *within* the
folder is followed, because data folders often consist of links.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.data.errors import DataError, check_bad_share
from core.data.sources.coco import read_json
from core.data.sources.folders import read_folder
from core.data.sources.manifests import read_json_lines, read_table
from core.data.sources.rows import Source
from core.data.sources.shards.collection import Progress, check_shards_exist, read_shards
from core.spec.config import expand_user
from core.spec.reading import excerpt
from core.spec.resources import GENERAL, resource_folder
from core.spec.shards import is_shards, may_exist

FORMATS = (
    "a CSV or TSV file with columns filepath and title, a JSON lines file, a COCO captions JSON, "
    "a folder of class folders, a folder of images with .txt files, or shards (tars, as in shards/{000..099}.tar)"
)
READERS: dict[str, Callable[[Path], Source]] = {
    ".csv": read_table,
    ".tsv": read_table,
    ".tab": read_table,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
}


def open_source(path: str | Path, progress: Progress | None = None) -> Source:
    """The rows of the file, folder or shards at ``path``; the format is detected from name and content.

    ``progress`` is called for shards, whose headers may have to be read.

    Raises DataError, with the remedy, if the data is missing or empty, or has wrong columns, an unknown format, a
    mixture of formats, or only bad rows.
    """
    if not str(path).strip():
        raise DataError(f"No data was specified; use {FORMATS}.")
    if is_shards(path):
        return _check_source(read_shards(str(path), progress))
    path = data_path(path)
    try:
        source = _read(path)
    except OSError as error:
        raise DataError(
            f"Cannot read the data {excerpt(str(error.filename or path))}: {error.strerror or error}."
        ) from error
    return _check_source(source)


def check_exists(path: str | Path) -> None:
    """Raise DataError if ``path``, or a shard that matches it, does not exist. Nothing is read."""
    if is_shards(path):
        check_shards_exist(str(path))
    elif not may_exist(str(data_path(path))):
        raise _nothing_at(data_path(path))


def data_path(name: str | Path) -> Path:
    """``name`` as a path; ``general`` is the included set, unless the working folder has something of this name."""
    path = expand_user(name)
    return resource_folder("general") / "captions.csv" if str(name) == GENERAL and not path.exists() else path


def _nothing_at(path: Path) -> DataError:
    return DataError(f"There is no data at {path}; check the path.")


def _check_source(source: Source) -> Source:
    if not source.rows and not source.bad:
        raise DataError(f"{source.origin} ({source.format}) contains no images; use {FORMATS}.")
    check_bad_share(source.origin, source.bad, len(source.rows) + len(source.bad), 1.0)
    return source


def _read(path: Path) -> Source:
    if path.is_dir():
        return read_folder(path)
    if not path.exists():
        raise _nothing_at(path)
    if not path.is_file():
        raise DataError(f"{path} is neither a file nor a folder; use {FORMATS}.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        kind = f"an unknown format ({path.suffix})" if path.suffix else "no file extension"
        raise DataError(f"{path} has {kind}; use {FORMATS}.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; use {FORMATS}.")
    return reader(path)
