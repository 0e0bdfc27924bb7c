"""Expands dropped files to images: walks folders, and refuses other files with a reason. No Qt; runs in a thread.

Flow: ``DropTarget`` -> thread -> **``expand``** -> lists of images and of refusals, in batches. Link loops end,
unreadable folders are refused, and 100,000 files arrive in batches, so that the first ones appear immediately.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.spec.config import expand_user
from core.spec.paths import IMAGE_SUFFIXES
from sdgui.widgets.formats import count

IMAGE_FILTER = f"Images ({' '.join(f'*{suffix}' for suffix in sorted(IMAGE_SUFFIXES))});;All files (*)"  # for dialogs
_VIDEOS = frozenset((".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"))
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
BATCH_SIZE = 500  # images that are reported together
_MAX_REFUSED = 200  # listed refusals; others are counted

Refusal = tuple[str, str]  # file, reason


def not_added_text(refusals: Sequence[Refusal]) -> str:
    """``Not added: words.doc: it is not an image. And 2 more.``; "" if everything was added."""
    if not refusals:
        return ""
    (file, reason), remainder = refusals[0], len(refusals) - 1
    return f"Not added: {file}: {reason}." + (f" And {count(remainder)} more." if remainder else "")


def refusal_lines(refusals: Sequence[Refusal]) -> str:
    """The details of a message: the first refusals, one per line."""
    return "\n".join(f"{file}: {reason}" for file, reason in refusals[:_MAX_REFUSED])


@dataclass
class ImageBatch:
    """A batch of images, and of files that were refused."""

    images: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


def existing_path(text: str) -> Path | None:
    """The file or folder at a typed path; None if it does not exist or the path is invalid."""
    try:
        path = expand_user(text)
        path.stat()
    except (OSError, ValueError):  # too long, unreadable, or not a valid path
        return None
    return path if text else None


def expand(paths: Sequence[str], is_cancelled: Callable[[], bool] = lambda: False) -> Iterator[ImageBatch]:
    """Yield the images in ``paths`` and their subfolders, each once, in batches; polls ``is_cancelled``."""
    part, seen, folders, unlisted = ImageBatch(), set[str](), set[tuple[int, int]](), 0
    for image, refusal in _all(paths, folders):
        if is_cancelled():
            return
        if refusal is None and not _is_text(image):
            refusal = image.encode("utf-8", "replace").decode(), "its name is not valid text; rename it"
        if refusal is None:
            if image not in seen:
                seen.add(image)
                part.images.append(image)
        elif len(part.refused) < _MAX_REFUSED:
            part.refused.append(refusal)
        else:
            unlisted += 1
        if len(part.images) >= BATCH_SIZE:
            yield part
            part = ImageBatch()
    if unlisted:
        part.refused.append((f"{unlisted} more", "were skipped for similar reasons"))
    if part.images or part.refused:
        yield part


def _all(paths: Sequence[str], folders: set[tuple[int, int]]) -> Iterator[tuple[str, Refusal | None]]:
    for text in paths:
        path = Path(text)
        try:
            if path.is_dir():
                yield from _folder(path, folders)
            elif images := _described_images(path):
                yield from ((str(image.absolute()), None) for image in images)
            else:
                reason = refusal_reason(path)
                yield str(path.absolute()), (text, reason) if reason else None
        except (OSError, ValueError) as error:
            yield text, (text, f"it cannot be read: {getattr(error, 'strerror', None) or error}")


def _described_images(path: Path) -> list[Path]:
    """The images next to a sidecar ``NAME.txt`` that it describes; [] for any other file."""
    if path.suffix.lower() != ".txt":
        return []
    return [candidate for suffix in sorted(IMAGE_SUFFIXES) if (candidate := path.with_suffix(suffix)).is_file()]


def refusal_reason(path: Path) -> str:
    """The reason to refuse a file as an image; "" if it is accepted."""
    suffix = path.suffix.lower()
    if not path.exists():
        return "there is no such file"
    if not path.is_file():
        return "it is neither a file nor a folder"
    if path.stat().st_size == 0:
        return "the file is empty"
    if suffix in IMAGE_SUFFIXES:
        return ""
    if suffix in _VIDEOS:
        return "it is a video; save single frames as images"
    with path.open("rb") as file:
        if file.read(8).startswith(_STARTS):
            return ""  # an image with another extension, as browsers save them
    return f"it is not an image ({suffix or 'no extension'}); drop JPEG, PNG or WebP files, or a folder of them"


def _folder(top: Path, seen: set[tuple[int, int]]) -> Iterator[tuple[str, Refusal | None]]:
    """Images in the tree, sorted by name within a folder; then a note on files that are not images."""
    waiting, other_files, images, unreadable = [str(top.absolute())], 0, 0, 0
    while waiting:
        folder = waiting.pop()
        try:
            facts = Path(folder).stat()
            if facts.st_ino and (facts.st_dev, facts.st_ino) in seen:
                continue  # a loop, or a folder dropped twice
            seen.add((facts.st_dev, facts.st_ino))
            names, inner, unlisted = _list_folder(folder)
        except OSError as error:
            unreadable += 1
            yield folder, (folder, f"the folder cannot be read: {error.strerror or error}")
            continue
        other_files += unlisted
        images += len(names)
        for name in names:
            yield f"{folder}{os.sep}{name}", None
        waiting.extend(reversed(inner))
    if other_files:
        text = f"{other_files} files that are not images were"
        subject = "1 file that is not an image was" if other_files == 1 else text
        yield str(top), (str(top), f"{subject} skipped")
    elif not images and not unreadable:
        yield str(top), (str(top), "the folder has no new images")


def _list_folder(folder: str) -> tuple[list[str], list[str], int]:
    """Names of images, paths of folders, and the number of other files; skips hidden files and sidecars."""
    names, inner, other_files, texts = [], [], 0, []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if _leads_to_folder(entry):
                inner.append(entry.path)
            elif entry.name[entry.name.rfind(".") :].lower() in IMAGE_SUFFIXES:
                names.append(entry.name)
            elif entry.name.lower().endswith(".txt"):
                texts.append(entry.name[:-4])
            else:
                other_files += 1
    described = {name[: name.rfind(".")] for name in names}
    return sorted(names), sorted(inner), other_files + sum(text not in described for text in texts)


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_text(path: str) -> bool:
    """Whether a name is validly encoded; other names cannot be passed through the window unchanged."""
    return path.isascii() or not any("\ud800" <= char <= "\udfff" for char in path)
