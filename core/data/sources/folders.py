"""Reads folders of images: class folders (ImageFolder), or images with ``.txt`` sidecars.

Flow: ``open_source`` calls ``read_folder`` for a folder. The tree is walked once; its content determines the layout,
and a mixture of both layouts is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core.data.errors import BadRow, DataError
from core.data.sources.rows import Row, Source, clean_caption
from core.spec.errors import UserError
from core.spec.paths import IMAGE_SUFFIXES
from core.spec.reading import read_text
from core.spec.reporter import Progress

MANIFEST_SUFFIXES = frozenset((".csv", ".tsv", ".jsonl", ".json", ".ndjson"))
WITHOUT_CAPTIONS = "images without captions"  # a format
MAX_SIDECAR_BYTES = 1 << 20  # longer text is not a caption

_REPORT_EVERY = 1000  # folders between progress reports


@dataclass
class _Folder:
    """A folder of the tree: the names of its images and manifests, and the stems of its text files."""

    path: str
    images: list[str] = field(default_factory=list)
    texts: set[str] = field(default_factory=set)
    manifests: list[str] = field(default_factory=list)

    @property
    def is_captioned(self) -> bool:
        return any(_stem(name) in self.texts for name in self.images)


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def read_folder(root: Path) -> Source:
    """Read the rows of a folder. Raises DataError if layouts are mixed, or images have neither captions nor classes."""
    top = str(root.absolute())
    folders = [folder for folder in _list_folders(top) if folder.images or folder.manifests]
    with_images = [folder for folder in folders if folder.images]
    if not with_images:
        raise DataError(f"The folder {root} contains no images.{_manifest_hint(folders)}")
    captioned = [folder for folder in with_images if folder.is_captioned]
    uncaptioned = [folder for folder in with_images if not folder.is_captioned]
    if captioned and uncaptioned:
        raise DataError(
            f"The folder {root} mixes two layouts: the images in {captioned[0].path} have .txt captions, but the "
            f"images in {uncaptioned[0].path} do not; separate images with captions from class folders."
        )
    if captioned:
        return _read_sidecars(root, captioned)
    if all(folder.path == top for folder in uncaptioned):
        raise DataError(
            f"The images in {root} have no captions: add a .txt file next to each image, or sort the images into one "
            f"folder per class.{_manifest_hint(folders)}"
        )
    return _read_classes(root, top, uncaptioned)


def _manifest_hint(folders: list[_Folder]) -> str:
    names = [f"{folder.path}{os.sep}{name}" for folder in folders for name in folder.manifests]
    return f" To use a manifest, choose the file itself: {', '.join(names[:5])}." if names else ""


def _list_folders(top: str) -> Iterator[_Folder]:
    """``top`` and all folders below it. Raises OSError if one of them cannot be listed."""
    for path, files in walk_folders(top):
        if isinstance(files, OSError):
            raise files
        folder = _Folder(path)
        for file in files:
            stem, dot, extension = file.name.rpartition(".")
            suffix = dot + extension.lower()
            if suffix in IMAGE_SUFFIXES:
                folder.images.append(file.name)
            elif suffix == ".txt":
                folder.texts.add(stem)
            elif suffix in MANIFEST_SUFFIXES:
                folder.manifests.append(file.name)
        yield folder


def walk_folders(top: str) -> Iterator[tuple[str, list[os.DirEntry[str]] | OSError]]:
    """``top`` and all folders below it, each with its files sorted by name, or with the OSError of listing it.

    Hidden files and folders and ``__MACOSX`` are skipped. Links to folders are followed, as by torchvision's
    ImageFolder, but each folder is visited only once, so links may form a loop.
    """
    visited: set[tuple[int, int]] = set()
    pending = [top]  # a stack instead of recursion, since folders may be nested a thousand levels deep
    while pending:
        path = pending.pop()
        try:
            status = Path(path).stat()
            inode = status.st_dev, status.st_ino
            if status.st_ino and inode in visited:  # st_ino is 0 if the file system has no inode numbers
                continue
            visited.add(inode)
            with os.scandir(path) as entries:
                visible = [entry for entry in entries if not entry.name.startswith((".", "__MACOSX"))]
        except OSError as error:
            yield path, error
            continue
        visible.sort(key=lambda entry: entry.name)
        folders = [entry.path for entry in visible if _leads_to_folder(entry)]
        yield path, [entry for entry in visible if not _leads_to_folder(entry)]
        pending += reversed(folders)  # the last one is visited next


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether ``entry`` is a folder or a link to a folder; False for a link to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def has_image_suffix(name: str) -> bool:
    """Whether the file name ``name`` has the suffix of an image format."""
    return name[name.rfind(".") :].lower() in IMAGE_SUFFIXES


def read_uncaptioned(folder: Path, progress: Progress) -> Source:
    """All images in the folder tree, sorted within each folder, without hidden folders.

    Folders that cannot be listed are bad rows.
    """
    source = Source(str(folder), WITHOUT_CAPTIONS, [], [])
    for number, (path, files) in enumerate(walk_folders(str(folder))):
        if number % _REPORT_EVERY == 0:
            progress("counting images", len(source.rows), 0)
        if isinstance(files, OSError):
            source.bad.append(BadRow(path, f"the folder cannot be read: {files.strerror or files}"))
        else:
            source.rows += [Row(file.path, ()) for file in files if has_image_suffix(file.name)]
    return source


def _read_classes(root: Path, top: str, folders: list[_Folder]) -> Source:
    """Read rows whose class is the name of the top-level folder; the caption is this name with spaces for _ and -."""
    rows: list[Row] = []
    bad_rows: list[BadRow] = []
    for folder in folders:
        if folder.path == top:
            reason = "the image is outside the class folders"
            bad_rows.extend(BadRow(f"{top}{os.sep}{name}", reason) for name in folder.images)
            continue
        name = folder.path[len(top) :].strip(os.sep).partition(os.sep)[0]
        captions = (clean_caption(name.replace("_", " ").replace("-", " ")) or name,)
        labels = {"class": name}
        rows.extend(Row(f"{folder.path}{os.sep}{image}", captions, labels) for image in folder.images)
    return Source(str(root), "class folders", rows, bad_rows, ("class",))


def _read_sidecars(root: Path, folders: list[_Folder]) -> Source:
    """Read rows whose captions are the lines of ``NAME.txt`` next to ``NAME.jpg``."""
    rows: list[Row] = []
    bad_rows: list[BadRow] = []
    for folder in folders:
        for name in folder.images:
            file = f"{folder.path}{os.sep}{name}"
            stem = _stem(name)
            try:
                captions = _sidecar(Path(folder.path, stem + ".txt")) if stem in folder.texts else ()
            except (OSError, UserError) as error:
                bad_rows.append(BadRow(file, f"the caption cannot be read: {error}"))
                continue
            if captions:
                rows.append(Row(file, captions))
            else:
                missing = "has no text" if stem in folder.texts else "is missing"
                bad_rows.append(BadRow(file, f"no caption: {stem}.txt {missing}"))
    return Source(str(root), "images with .txt captions", rows, bad_rows)


def _sidecar(path: Path) -> tuple[str, ...]:
    lines = read_text(path, MAX_SIDECAR_BYTES, encoding="utf-8-sig").splitlines()
    return tuple(dict.fromkeys(filter(None, map(clean_caption, lines))))
