"""Finds and reads images in files and folders, cropped for the model; unreadable files get an error.

Flow: paths, folders, ``file:`` URLs -> ``find_images`` -> ``read_ahead`` -> ``core.inference.caption_stream``. An
invalid file does not stop the others.

Legend: S side of the model's images.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from torch import Tensor

from core.data.errors import ImageError
from core.data.loader import compute_ahead
from core.data.preprocessing import model_input
from core.data.sources.folders import has_image_suffix, walk_folders
from core.spec.config import DataConfig
from core.spec.failures import is_out_of_memory
from core.spec.paths import expand_user, is_folder
from core.spec.shards import is_member

_WEB_SCHEMES = ("http", "https", "ftp", "data", "blob")
_REPORT_EVERY = 1000  # images between two progress reports


@dataclass(frozen=True)
class ImageInput:
    """A file to read, or the ``error`` that explains why it cannot be read."""

    path: str
    error: str = ""


@dataclass(frozen=True)
class FoundImages:
    """All input files in order; files in folders are sorted by name."""

    inputs: list[ImageInput]
    skipped: int  # number of files in folders that have no image suffix


@dataclass(frozen=True)
class LoadedImage:
    """An image for the model, (3, S, S) uint8, or the ``error``."""

    path: str
    image: Tensor | None
    error: str = ""


def find_images(names: Sequence[str], progress: Callable[[str, int, int], None]) -> FoundImages:
    """Find files, and images in folders at any depth, except hidden files; loops of links are followed once."""
    inputs: list[ImageInput] = []
    skipped = 0

    def add(item: ImageInput) -> None:
        inputs.append(item)
        if len(inputs) % _REPORT_EVERY == 0:
            progress("searching for images", len(inputs), 0)

    for text in names:
        path, error = _local_path(text)
        if error or not is_folder(path):
            add(ImageInput(path, error or _file_error(path)))
            continue
        for folder, files in walk_folders(path):
            if isinstance(files, OSError):
                add(ImageInput(folder, f"the folder cannot be read: {files.strerror or files}"))
                continue
            images = [file.path for file in files if has_image_suffix(file.name)]
            skipped += len(files) - len(images)
            for image in images:
                add(ImageInput(image))
    return FoundImages(inputs, skipped)


def _local_path(text: str) -> tuple[str, str]:
    """The local path of ``text``; and an error if ``text`` is not a path, otherwise ""."""
    scheme = text.partition(":")[0].lower()
    if scheme == "file":
        return str(Path(url2pathname(urlsplit(text).path)).absolute()), ""
    if scheme in _WEB_SCHEMES and ":" in text:
        return text, "this is a web address; save the image and choose the file"
    if not text.strip():
        return text, "the path is empty; choose an image or a folder"
    if "\0" in text:
        return text, "this is not a file name"
    return str(expand_user(text).absolute()), ""


def _file_error(path: str) -> str:
    """The reason why ``path`` cannot be read as a file; "" if it can. Reading pipes and devices might never end."""
    if is_member(path):
        return ""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return "the file does not exist"
    except (OSError, ValueError) as error:
        return f"it cannot be opened: {getattr(error, 'strerror', None) or error}"
    return "" if stat.S_ISREG(mode) else "it is a pipe or a device, not a file"


def read_image(item: ImageInput, side: int, data: DataConfig) -> LoadedImage:
    """Read an image as in evaluation, for a model with input ``side``: (3, S, S) uint8, or the error."""
    error = item.error or _file_error(item.path)  # the file may have changed since it was found
    if error:
        return LoadedImage(item.path, None, error)
    try:
        return LoadedImage(item.path, model_input(item.path, side, data))
    except ImageError as error:
        return LoadedImage(item.path, None, str(error))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return LoadedImage(item.path, None, "not enough memory to read it")


def read_ahead(
    inputs: Sequence[ImageInput], side: int, data: DataConfig, depth: int | Callable[[], int]
) -> Generator[LoadedImage, None, None]:
    """Read all images in order; a thread reads up to ``depth`` images ahead. Close the generator to end the thread."""
    jobs: Iterator[Callable[[], LoadedImage]] = (partial(read_image, item, side, data) for item in inputs)
    return compute_ahead(jobs, depth)
