"""Parses names of shards (patterns of tars) and of images in tars.

A pattern is one path or several joined by ``::``, with braces (``{00000..00099}``, ``{a,b}``) and wildcards, as in
WebDataset and open_clip. An image in a tar has the path TAR/OFFSET+SIZE/NAME, so that it can be handled like any image
path; `read_member` reads the bytes. Tars are never unpacked.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from core.spec.errors import UserError
from core.spec.paths import expand_user, is_file, is_folder
from core.spec.reading import UnreadableError, excerpt, open_regular

TAR_SUFFIX = ".tar"
SEPARATOR = "::"
MAX_SHARDS = 1 << 20  # shards in a pattern
MAX_BRACES = 64
MAX_MEMBER_BYTES = 256 << 20  # size of an image
# Suffixes that are allowed in a folder of shards; with other files, such as images, it is a folder of images.
_ALLOWED_SUFFIXES = frozenset(
    (TAR_SUFFIX, ".index", ".json", ".jsonl", ".csv", ".tsv", ".parquet", ".txt", ".md", ".log", ".tmp")
)
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_WILD = re.compile(r"[*?\[]")
_MEMBER = re.compile(r"(?P<tar>.+\.tar)[\\/](?P<offset>\d{1,18})\+(?P<size>\d{1,12})[\\/][^\\/]+", re.DOTALL)


@dataclass(frozen=True)
class Member:
    """The location of an image in a tar."""

    tar: str
    offset: int
    size: int


def names_shards(text: str) -> bool:
    """Whether ``text`` has the form of a tar or a pattern of tars, without checking that it exists."""
    return all(part.lower().rstrip("}").endswith(TAR_SUFFIX) for part in text.split(SEPARATOR))


def may_exist(source: str) -> bool:
    """Whether ``source`` exists; always true for a pattern of shards, which could take long to expand."""
    return bool(source) and (names_shards(source) or is_file(expand_user(source)) or is_folder(expand_user(source)))


def is_shards(source: str | Path) -> bool:
    """Whether ``source`` names shards: a tar, a pattern of tars, or a folder of tars without images."""
    text = str(source)
    if names_shards(text):
        return True
    folder = expand_user(text)
    try:
        return bool(text) and is_folder(folder) and _contains_shards(folder)
    except OSError:
        return False


def _contains_shards(folder: Path) -> bool:
    has_tar = False
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = Path(entry.name).suffix.lower()
            if suffix not in _ALLOWED_SUFFIXES and not entry.name.startswith("."):
                return False  # a folder of images usually returns at the first file
            has_tar = has_tar or suffix == TAR_SUFFIX
    return has_tar


def absolute_pattern(pattern: str) -> str:
    """Make every relative path in ``pattern`` absolute."""
    return SEPARATOR.join(str(expand_user(part).absolute()) for part in pattern.split(SEPARATOR))


def expand_pattern(pattern: str, error: type[UserError] = UnreadableError) -> list[str]:
    """The paths of ``pattern`` with braces and wildcards expanded, in order (wildcards: sorted by name).

    Raises ``error`` if a wildcard or folder matches nothing, or if there are more than a million paths.
    """
    paths: list[str] = []
    for part in pattern.split(SEPARATOR):
        if problem := brace_problem(part):
            raise error(problem)
        for name in _expand(part):
            path = expand_user(name)
            if is_folder(path):
                paths += _matching(path, "*" + TAR_SUFFIX, error)
            elif _WILD.search(name) and not is_file(path):
                anchor = path.anchor
                paths += _matching(Path(anchor or "."), str(path)[len(anchor) :], error)
            else:
                paths.append(str(path))
            if len(paths) > MAX_SHARDS:
                raise error(f"{excerpt(pattern)} contains more than {MAX_SHARDS:,} shards; specify fewer.")
    return paths


def member_path(tar: str | Path, offset: int, size: int, name: str) -> str:
    """The path of the image ``name`` of ``size`` bytes at ``offset`` in ``tar``."""
    return f"{tar}/{offset}+{size}/{name}"


def split_member(path: str | Path) -> Member | None:
    """The location that ``path`` denotes; None if it is not the path of an image in a tar."""
    text = str(path)
    match = _MEMBER.fullmatch(text) if TAR_SUFFIX in text else None
    return Member(match["tar"], int(match["offset"]), int(match["size"])) if match else None


def file_of(path: str) -> str:
    """The file that contains the image ``path``: its tar, or ``path`` if the image is not in a tar."""
    member = split_member(path)
    return member.tar if member else path


def is_member(path: str | Path) -> bool:
    """Whether ``path`` denotes existing bytes in a tar."""
    member = split_member(path)
    if member is None or not is_file(member.tar):
        return False
    return member.offset + member.size <= Path(member.tar).stat().st_size


def read_member(member: Member, error: type[UserError] = UnreadableError) -> bytes:
    """The bytes of an image in a tar. Raises ``error`` if they are truncated or too large, or the tar is unreadable."""
    if member.size > MAX_MEMBER_BYTES:
        raise error(
            f"an image in {excerpt(member.tar)} has {member.size:,} bytes; the maximum is {MAX_MEMBER_BYTES >> 20} MB."
        )
    with open_regular(member.tar, error=error) as file:
        file.seek(member.offset)
        content = file.read(member.size)
    if len(content) < member.size:
        raise error(
            f"{excerpt(member.tar)} ends before byte {member.offset + member.size:,}; it was cut off. Copy it again."
        )
    return content


def _matching(folder: Path, wildcard: str, error: type[UserError]) -> list[str]:
    try:
        names = sorted(str(path) for path in folder.glob(wildcard))
    except (OSError, ValueError, NotImplementedError) as problem:
        raise error(f"{excerpt(str(folder / wildcard))} cannot be expanded: {problem}; check the pattern.") from problem
    if not names:
        raise error(f"No shard matches {excerpt(str(folder / wildcard))}; check the path.")
    return names


def brace_problem(text: str) -> str:
    """Why the braces of a pattern cannot be expanded; "" if they can. Does not access the disk."""
    if text.count("{") > MAX_BRACES:
        return f"{excerpt(text)} has more than {MAX_BRACES} braces; use fewer."
    if _count(text) > MAX_SHARDS:
        return f"{excerpt(text)} contains more than {MAX_SHARDS:,} shards; specify fewer."
    return ""


def _count(text: str) -> int:
    """The length of the result of `_expand`."""
    start = text.find("{")
    parts, end = _alternatives(text, start) if start >= 0 else ([], 0)
    if not end:
        return 1
    match = _RANGE.fullmatch(parts[0])
    choices = sum(map(_count, parts)) if len(parts) > 1 else abs(int(match[2]) - int(match[1])) + 1 if match else 1
    return choices * _count(text[end:])


def _expand(text: str) -> list[str]:
    """``text`` for each choice in its braces; the last brace varies fastest."""
    start = text.find("{")
    parts, end = _alternatives(text, start) if start >= 0 else ([], 0)
    if not end:
        return [text]
    if len(parts) > 1:
        heads = [head_part for part in parts for head_part in _expand(part)]
    elif match := _RANGE.fullmatch(parts[0]):
        heads = _range(match[1], match[2])
    else:
        heads = ["{" + parts[0] + "}"]  # neither a range nor a list of choices
    return [text[:start] + head + tail for head in heads for tail in _expand(text[end:])]


def _alternatives(text: str, start: int) -> tuple[list[str], int]:
    """The comma-separated parts of the brace at ``start``, and its end (0 if the brace is not closed)."""
    depth, parts, begin = 0, [], start + 1
    for position in range(start, len(text)):
        character = text[position]
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 1:
            parts.append(text[begin:position])
            begin = position + 1
        if depth == 0:
            return [*parts, text[begin:position]], position + 1
    return [], 0


def _range(first: str, last: str) -> list[str]:
    """The numbers from ``first`` to ``last``, zero-padded if one of the two begins with 0."""
    width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
    begin, end = int(first), int(last)
    step = 1 if end >= begin else -1
    return [str(number).zfill(width) for number in range(begin, end + step, step)]
