"""Images from files and folders, or the reason why one cannot be read; each cropped for the model.

Flow: paths, folders, ``file:`` addresses -> ``gather`` -> ``read_ahead`` -> ``core.inference.caption_stream``.
Whatever one of them is, the others go on.

Legend: S side of the model's images.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from torch import Tensor

from core.data.errors import ImageError
from core.data.loader import ahead
from core.data.preprocessing import model_input
from core.data.sources.folders import IMAGE_SUFFIXES, leads_to_folder
from core.model.runtime import is_out_of_memory
from core.spec.config import DataConfig
from core.spec.shards import is_member

_WEB = ("http", "https", "ftp", "data", "blob")
_TOLD_EACH = 1000  # images found between two reports


@dataclass(frozen=True)
class Found:
    """A file to read, given or found in a given folder, or why it cannot be read."""

    path: str
    refused: str = ""


@dataclass(frozen=True)
class Gathered:
    """All files found, in the order given; within folders by name."""

    found: list[Found]
    passed_over: int  # files in folders that are no images by their names


@dataclass(frozen=True)
class Read:
    """An image ready for the model, (3, S, S) uint8, or why not."""

    path: str
    image: Tensor | None
    refused: str = ""


def gather(given: Sequence[str], progress: Callable[[str, int, int], None]) -> Gathered:
    """Files and the images in folders, at any depth; hidden files are left out, links that form a loop end."""
    found: list[Found] = []
    others = 0

    def add(item: Found) -> None:
        found.append(item)
        if len(found) % _TOLD_EACH == 0:
            progress("looking for images", len(found), 0)

    for text in given:
        path, refused = _local(text)
        if not refused and _is_folder(path):
            others += _walk(path, set(), add)
        else:
            add(Found(path, refused or _why_no_file(path)))
    return Gathered(found, others)


def _local(text: str) -> tuple[str, str]:
    """The path that ``text`` stands for, and why it is none."""
    scheme = text.partition(":")[0].lower()
    if scheme == "file":
        return str(Path(url2pathname(unquote(urlsplit(text).path))).absolute()), ""
    if scheme in _WEB and ":" in text:
        return text, "it is a web address; save the image and give its file"
    if not text.strip():
        return text, "it is empty; give an image or a folder"
    if "\0" in text:
        return text, "it is not the name of a file"
    path = Path(text)
    with suppress(RuntimeError):  # a name that begins with a tilde and no user has
        path = path.expanduser()
    return str(path.absolute()), ""


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def _why_no_file(path: str) -> str:
    """Why ``path`` cannot be read as a file; nothing when it can. Pipes and devices would never end."""
    if is_member(path):
        return ""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return "there is no such file"
    except (OSError, ValueError) as error:
        return f"it cannot be opened: {getattr(error, 'strerror', None) or error}"
    return "" if stat.S_ISREG(mode) else "it is a pipe or a device, not a file"


def _walk(path: str, seen: set[tuple[int, int]], add: Callable[[Found], None]) -> int:
    """Adds the images under ``path``; returns how many other files there are."""
    others = 0
    pending = [path]  # no recursion: folders may lie a thousand deep
    while pending:
        folder = pending.pop()
        try:
            status = Path(folder).stat()
            if status.st_ino and (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            files, inner, rest = _list(folder)
        except OSError as error:
            add(Found(folder, f"the folder cannot be read: {error.strerror or error}"))
            continue
        others += rest
        for name in files:
            add(Found(f"{folder}{os.sep}{name}"))
        pending += [f"{folder}{os.sep}{name}" for name in reversed(inner)]
    return others


def _list(folder: str) -> tuple[list[str], list[str], int]:
    """Names of images and of folders in ``folder``, sorted, and the number of other files."""
    files, inner, others = [], [], 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "__MACOSX")):
                continue
            if leads_to_folder(entry):
                inner.append(entry.name)
            elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                files.append(entry.name)
            else:
                others += 1
    return sorted(files), sorted(inner), others


def read_image(item: Found, side: int, data: DataConfig) -> Read:
    """An image as evaluation shows it to a model of ``side`` pixels, (3, S, S) uint8, or why not."""
    refused = item.refused or _why_no_file(item.path)  # it may be gone, or another thing, by now
    if refused:
        return Read(item.path, None, refused)
    try:
        return Read(item.path, model_input(item.path, side, data))
    except ImageError as error:
        return Read(item.path, None, str(error))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return Read(item.path, None, "there is not enough memory to read it")


def read_ahead(
    found: Sequence[Found], side: int, data: DataConfig, depth: int | Callable[[], int]
) -> Generator[Read, None, None]:
    """Every image in order, read by a thread up to ``depth`` ahead, as of ``ahead``. Close it to end the thread."""
    jobs: Iterator[Callable[[], Read]] = (partial(read_image, item, side, data) for item in found)
    return ahead(jobs, depth)
