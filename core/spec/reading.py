"""Reads untrusted files safely: run folders, configs, studies, indexes, prompts.

Such a file may be a pipe that blocks, a link to a device, gigabytes of zeros, or a number of 5,000 digits. These
functions read only regular files with bounded size, nesting and numbers. For any other file they raise an error that
names the file, the value and the remedy.

Flow: ``read_json`` (or ``read_text``, ``open_regular``) -> ``validate`` against a pydantic model -> typed values.
Callers pass their own ``UserError`` class. A missing file raises FileNotFoundError, which callers often handle.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from core.spec.errors import UserError

KILOBYTE, MEGABYTE = 1 << 10, 1 << 20
MAX_EXCERPT_LENGTH = 200  # longest name or value shown in a message, in characters
MAX_DEPTH = 64  # deepest nesting of JSON
_MAX_INT = 1 << 63
_MAX_HEADER = 4 * MEGABYTE  # of a safetensors file: a million empty tensors take a gigabyte and seconds to parse

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


class UnreadableError(UserError):
    """An unusable file; the message names the file, the problem and the remedy."""


def excerpt(value: object, longest: int = MAX_EXCERPT_LENGTH) -> str:
    """An untrusted ``value`` for a message: one line of printable characters, cut at ``longest`` with an ellipsis."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _MAX_INT:
        return "a number beyond 64 bits"  # str() of thousands of digits is slow or refused
    text = value if isinstance(value, str) else repr(value)[: 4 * longest]
    text = "".join(c if c.isprintable() else "\ufffd" for c in text[: longest + 1])
    return text if len(text) <= longest else text[: longest - 1] + "…"


def open_regular(
    path: Path | str, *, root: Path | None = None, error: type[UserError] = UnreadableError, limit: int | None = None
) -> BinaryIO:
    """Open ``path`` for reading, without waiting for a pipe or a device.

    ``root``: a folder that must contain the file after resolving links. ``limit``: maximum bytes. Raises ``error``
    naming the file, the problem and the remedy, and FileNotFoundError if the file does not exist.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode  # checked before opening, since opening a device may have effects
        if not stat.S_ISREG(mode):
            raise error(f"{excerpt(str(path))} is {_file_kind(mode)}, not a file; choose a regular file.")
        if root is not None and not path.resolve().is_relative_to(root.resolve()):
            raise error(f"{excerpt(str(path))} is a link out of {excerpt(str(root))}; replace it with the file itself.")
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):  # the file was replaced after the check
                raise error(f"{excerpt(str(path))} is {_file_kind(status.st_mode)}, not a file; choose a regular file.")
            if limit is not None and status.st_size > limit:
                raise error(_too_large(path, limit))
            return os.fdopen(file, "rb")
        except BaseException:
            os.close(file)
            raise
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from problem
    except ValueError as problem:  # a null character in the file name
        raise error(f"{excerpt(str(path))} is not a valid file name; choose another.") from problem
    except OSError as problem:
        raise error(_unreadable(path, problem)) from problem


def check_tensor_file(
    path: Path | str, *, root: Path | None = None, error: type[UserError] = UnreadableError, limit: int | None = None
) -> None:
    """Raise ``error`` if a safetensors file's header is too long to be parsed; raises as `open_regular` does."""
    with open_regular(path, root=root, error=error, limit=limit) as file:
        if int.from_bytes(file.read(8), "little") > _MAX_HEADER:
            raise error(
                f"{excerpt(str(path))} is not a safetensors file, or its header is too long; save it again or use a "
                "copy."
            )


def read_bytes(
    path: Path | str, limit: int, *, root: Path | None = None, error: type[UserError] = UnreadableError
) -> bytes:
    """The content of a regular file of at most ``limit`` bytes. Raises the errors of `open_regular`."""
    with open_regular(path, root=root, error=error, limit=limit) as file:
        try:
            content = file.read(limit + 1)  # the file may grow while it is read
        except OSError as problem:
            raise error(_unreadable(path, problem)) from problem
    if len(content) > limit:
        raise error(_too_large(Path(path), limit))
    return content


def read_text(
    path: Path | str,
    limit: int,
    *,
    root: Path | None = None,
    error: type[UserError] = UnreadableError,
    encoding: str = "utf-8",
) -> str:
    """The text of a regular file of at most ``limit`` bytes. Raises the errors of `open_regular`."""
    content = read_bytes(path, limit, root=root, error=error)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as problem:
        raise error(f"{excerpt(str(path))} is not UTF-8 text (byte {problem.start}); save it as UTF-8.") from problem


def read_json(
    path: Path | str, limit: int, *, root: Path | None = None, error: type[UserError] = UnreadableError
) -> Any:
    """The JSON in a regular file of at most ``limit`` bytes. Raises the errors of `open_regular` and `parse_json`."""
    return parse_json(read_bytes(path, limit, root=root, error=error), excerpt(str(path)), error=error)


def read_json_of(subject: str, path: Path, limit: int, error: type[UserError]) -> Any:
    """`read_json` of a file that the user has named; ``error`` names ``subject`` if the file is missing."""
    try:
        return read_json(path, limit, error=error)
    except FileNotFoundError as problem:
        raise error(f"cannot read {subject}: {problem.strerror}; check the path.") from problem


def has_json_key(path: Path, limit: int, key: str) -> bool:
    """Whether the file contains a JSON object with ``key``; False if it cannot be read."""
    try:
        raw = read_json(path, limit)
    except (FileNotFoundError, UserError):
        return False
    return isinstance(raw, dict) and key in raw


def parse_json(content: bytes | str, source: str, *, error: type[UserError] = UnreadableError) -> Any:
    """Parse JSON into plain data with at most `MAX_DEPTH` levels of nesting, 64-bit integers and finite numbers.

    ``source`` names the input in messages. Raises ``error``, with the line if it is known.
    """
    try:
        value = json.loads(content.removeprefix("\ufeff") if isinstance(content, str) else content)
    except json.JSONDecodeError as problem:
        raise error(
            f"{source}, line {problem.lineno}: not JSON ({problem.msg}); fix the file, or use an earlier copy."
        ) from problem
    except UnicodeDecodeError as problem:
        raise error(f"{source} is not UTF-8 text (byte {problem.start}); save it as UTF-8.") from problem
    except RecursionError as problem:
        raise error(
            f"{source} is nested more than {MAX_DEPTH} levels deep; it was not written by this program."
        ) from problem
    except ValueError as problem:  # an integer of thousands of digits
        raise error(f"{source} has a number beyond 64 bits; it was not written by this program.") from problem
    if problem_text := out_of_bounds(value):
        raise error(f"{source} {problem_text}; it was not written by this program.")
    return value


def validate(
    model: type[Model], value: Any, source: str, *, error: type[UserError] = UnreadableError, remedy: str = ""
) -> Model:
    """Validate ``value`` as a ``model``. Raises ``error`` with ``source``, the first wrong field and the ``remedy``."""
    return validate_as(TypeAdapter(model), value, source, error=error, remedy=remedy)


def validate_as(
    adapter: TypeAdapter[Value], value: Any, source: str, *, error: type[UserError] = UnreadableError, remedy: str = ""
) -> Value:
    """Validate a value of a type that is not a model (a list, a mapping, a union); see `validate`."""
    try:
        return adapter.validate_python(value)
    except ValidationError as problem:
        raise error(f"{source}: {first_problem(problem)}{remedy and f' {remedy}'}") from problem


def first_problem(problem: ValidationError) -> str:
    """The first validation error as a sentence: the field, the problem and the value."""
    first = problem.errors(include_url=False, include_context=False)[0]
    field = excerpt(".".join(str(part) for part in first["loc"])) or "the content"
    value = "" if first["type"] == "missing" else f", not {excerpt(first['input'])}"
    return f"{field}: {first['msg']}{value}."


def out_of_bounds(value: Any) -> str:
    """Why plain data exceeds the bounds on nesting or numbers; "" if the data is within them.

    The check goes level by level, which is faster for long lists than checking each value.
    """
    level, depth = [value], 1
    while level:
        types = set(map(type, level))
        if float in types and not all(math.isfinite(item) for item in level if type(item) is float):
            return "has a number that is not finite"
        if int in types:
            numbers = level if types == {int} else [item for item in level if type(item) is int]
            if not -_MAX_INT <= min(numbers) <= max(numbers) < _MAX_INT:
                return "has a number beyond 64 bits"
        mappings = [item for item in level if type(item) is dict] if dict in types else []
        lists = [item for item in level if type(item) is list] if list in types else []
        if (mappings or lists) and depth > MAX_DEPTH:
            return f"is nested more than {MAX_DEPTH} levels deep"
        level = list(chain(chain.from_iterable(map(dict.values, mappings)), chain.from_iterable(lists)))
        depth += 1
    return ""


def _file_kind(mode: int) -> str:
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for is_kind, name in kinds if is_kind(mode)), "a special file")


def _unreadable(path: Path | str, problem: OSError) -> str:
    reason = problem.strerror or type(problem).__name__
    return f"{excerpt(str(path))} cannot be read: {reason}; fix this, or choose another file."


def _too_large(path: Path, limit: int) -> str:
    size = f"{limit // MEGABYTE} MB" if limit >= MEGABYTE else f"{limit // KILOBYTE} kB"
    return f"{excerpt(str(path))} is larger than {size}, the maximum for such a file; choose another file."
