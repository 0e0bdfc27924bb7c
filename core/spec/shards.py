"""How shards and the images in them are named: patterns of tars, and an image's place in one.

A pattern is one path or several joined by ``::``, with braces (``{00000..00099}``, ``{a,b}``) and wildcards, as
WebDataset and open_clip take them. An image in a tar has a path as any other: TAR/OFFSET+SIZE/NAME, so that whatever
shows or reads an image by its path reads this one too, through `read_member`; nothing is ever unpacked.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from core.spec.errors import UserError
from core.spec.paths import expand_user, is_file, is_folder
from core.spec.reading import UnreadableError, excerpt, open_regular

SUFFIX = ".tar"
SEPARATOR = "::"
MOST_SHARDS = 1 << 20  # of a pattern
MOST_BRACES = 64
LARGEST_MEMBER = 256 << 20  # bytes of an image
# What may lie in a folder of shards: no images, which would make it a folder of images.
_BESIDE = frozenset((SUFFIX, ".index", ".json", ".jsonl", ".csv", ".tsv", ".parquet", ".txt", ".md", ".log", ".tmp"))
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_WILD = re.compile(r"[*?\[]")
_MEMBER = re.compile(r"(?P<tar>.+\.tar)[\\/](?P<offset>\d{1,18})\+(?P<size>\d{1,12})[\\/][^\\/]+", re.DOTALL)


@dataclass(frozen=True)
class Member:
    """An image's place in a tar."""

    tar: str
    offset: int
    size: int


def names_shards(text: str) -> bool:
    """Whether ``text`` is a tar or a pattern of tars by its looks; nothing is looked for."""
    return all(part.lower().rstrip("}").endswith(SUFFIX) for part in text.split(SEPARATOR))


def may_be_there(source: str) -> bool:
    """Whether a file or folder of that name is there; of a pattern it is not looked for, which might take long."""
    return bool(source) and (names_shards(source) or is_file(expand_user(source)) or is_folder(expand_user(source)))


def is_shards(source: str | Path) -> bool:
    """Whether ``source`` names shards: a tar, a pattern of tars, or a folder of tars without images."""
    text = str(source)
    if names_shards(text):
        return True
    folder = expand_user(text)
    try:
        return bool(text) and is_folder(folder) and _holds_shards(folder)
    except OSError:
        return False


def _holds_shards(folder: Path) -> bool:
    found = False
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = Path(entry.name).suffix.lower()
            if suffix not in _BESIDE and not entry.name.startswith("."):
                return False  # in a folder of images mostly the first one
            found = found or suffix == SUFFIX
    return found


def absolute_pattern(pattern: str) -> str:
    """``pattern`` with every relative path in it made absolute."""
    return SEPARATOR.join(str(expand_user(part).absolute()) for part in pattern.split(SEPARATOR))


def expanded(pattern: str, error: type[UserError] = UnreadableError) -> list[str]:
    """The paths that ``pattern`` names, braces and wildcards expanded, in its order (wildcards: by name).

    ``error`` when a wildcard or folder finds none, or there would be more than a million.
    """
    found: list[str] = []
    for part in pattern.split(SEPARATOR):
        for name in _without_braces(part, error):
            path = expand_user(name)
            if is_folder(path):
                found += _matching(path, "*" + SUFFIX, error)
            elif _WILD.search(name) and not is_file(path):
                anchor = path.anchor
                found += _matching(Path(anchor or "."), str(path)[len(anchor) :], error)
            else:
                found.append(str(path))
            if len(found) > MOST_SHARDS:
                raise error(f"{excerpt(pattern)} names more than {MOST_SHARDS:,} shards; name fewer at once.")
    return found


def member_path(tar: str | Path, offset: int, size: int, name: str) -> str:
    """The path of the image ``name`` of ``size`` bytes at ``offset`` in ``tar``."""
    return f"{tar}/{offset}+{size}/{name}"


def split_member(path: str | Path) -> Member | None:
    """The place that ``path`` names; None when it is no path of an image in a tar."""
    text = str(path)
    match = _MEMBER.fullmatch(text) if SUFFIX in text else None
    return Member(match["tar"], int(match["offset"]), int(match["size"])) if match else None


def file_of(path: str) -> str:
    """The file on the disk that holds the image ``path``: its tar, or itself."""
    member = split_member(path)
    return member.tar if member else path


def is_member(path: str | Path) -> bool:
    """Whether ``path`` names bytes that are there, in a tar."""
    member = split_member(path)
    if member is None or not is_file(member.tar):
        return False
    return member.offset + member.size <= Path(member.tar).stat().st_size


def read_member(member: Member, error: type[UserError] = UnreadableError) -> bytes:
    """The bytes of an image in a tar.

    Raises ``error`` where they are not all there or are too many, and what `open_regular` raises.
    """
    if member.size > LARGEST_MEMBER:
        raise error(
            f"{excerpt(member.tar)} claims an image of {member.size:,} bytes, more than {LARGEST_MEMBER >> 20} MB."
        )
    with open_regular(member.tar, error=error) as file:
        file.seek(member.offset)
        content = file.read(member.size)
    if len(content) < member.size:
        raise error(f"{excerpt(member.tar)} ends before byte {member.offset + member.size:,}; it was cut off.")
    return content


def _matching(folder: Path, wildcard: str, error: type[UserError]) -> list[str]:
    try:
        names = sorted(str(path) for path in folder.glob(wildcard))
    except (OSError, ValueError, NotImplementedError) as problem:
        raise error(
            f"{excerpt(str(folder / wildcard))} cannot be looked for: {problem}; check the pattern."
        ) from problem
    if not names:
        raise error(f"No shard matches {excerpt(str(folder / wildcard))}; check the path.")
    return names


def brace_problem(text: str) -> str:
    """Why the braces of a pattern cannot be expanded; "" when they can. Nothing is listed for it."""
    if text.count("{") > MOST_BRACES:
        return f"{excerpt(text)} has more than {MOST_BRACES} braces; name the shards by fewer."
    if _count(text) > MOST_SHARDS:
        return f"{excerpt(text)} names more than {MOST_SHARDS:,} shards; name fewer at once."
    return ""


def _without_braces(text: str, error: type[UserError]) -> list[str]:
    """``text`` for each choice of its braces, the last one changing fastest."""
    if problem := brace_problem(text):
        raise error(problem)
    return _expanded(text)


def _count(text: str) -> int:
    """How many `_expanded` lists."""
    start = text.find("{")
    parts, end = _alternatives(text, start) if start >= 0 else ([], 0)
    if not end:
        return 1
    match = _RANGE.fullmatch(parts[0])
    own = sum(map(_count, parts)) if len(parts) > 1 else abs(int(match[2]) - int(match[1])) + 1 if match else 1
    return own * _count(text[end:])


def _expanded(text: str) -> list[str]:
    start = text.find("{")
    parts, end = _alternatives(text, start) if start >= 0 else ([], 0)
    if not end:
        return [text]
    if len(parts) > 1:
        heads = [one for part in parts for one in _expanded(part)]
    elif match := _RANGE.fullmatch(parts[0]):
        heads = _range(match[1], match[2])
    else:
        heads = ["{" + parts[0] + "}"]  # no choice: as it is
    return [text[:start] + head + tail for head in heads for tail in _expanded(text[end:])]


def _alternatives(text: str, start: int) -> tuple[list[str], int]:
    """What lies between the commas of the brace at ``start``, and where it ends; 0 where it does not."""
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
    """The numbers from ``first`` to ``last``, as wide as these where they begin with 0."""
    width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
    begin, end = int(first), int(last)
    step = 1 if end >= begin else -1
    return [str(number).zfill(width) for number in range(begin, end + step, step)]
