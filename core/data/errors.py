"""Errors in data, each with a sentence for the user; raised by all modules of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.spec.errors import UserError
from core.spec.reading import excerpt

MAX_LISTING_LENGTH = 3000  # characters
MAX_SHOWN = 20  # at most this many bad rows are listed in a message


class DataError(UserError):
    """Raised for data that cannot be used; the message contains the file, the value and the remedy."""


class ImageError(UserError):
    """Raised for an image that cannot be read; the message is the reason alone, without the path."""

    @property
    def transient(self) -> bool:
        """Whether the system failed (open files, permissions, memory, a disk), so that the file may still be fine.

        Decoders raise OSErrors without an errno for malformed bytes.
        """
        cause: BaseException | None = self
        while cause is not None:
            if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno is not None):
                return True
            cause = cause.__cause__
        return False


def json_problem(error: Exception) -> str:
    """Why JSON cannot be parsed; Python's own messages for long numbers and deep nesting are about the interpreter."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return "a number has too many digits" if "digits" in str(error) else excerpt(str(error))


@dataclass(frozen=True, slots=True)
class BadRow:
    """A skipped row: its location, and the reason why it cannot be used."""

    location: str
    reason: str

    def __str__(self) -> str:
        return f"{self.location}: {self.reason}"


def listing(bad_rows: Sequence[BadRow], count: int | None = None) -> str:
    """The first bad rows, one per line, and the number of unlisted rows out of ``count`` (default: all rows)."""
    lines: list[str] = []
    for row in bad_rows[:MAX_SHOWN]:
        if lines and sum(map(len, lines)) + len(str(row)) > MAX_LISTING_LENGTH:
            break
        lines.append(f"  {excerpt(str(row), MAX_LISTING_LENGTH)}")
    unlisted = (len(bad_rows) if count is None else count) - len(lines)
    if unlisted > 0:
        lines.append(f"  and {unlisted} more")
    return "\n".join(lines)


def check_bad_share(
    origin: str, bad_rows: Sequence[BadRow], total: int, max_share: float, count: int | None = None
) -> None:
    """Raise DataError, listing the bad rows, if they exceed ``max_share`` of ``total`` rows, or all rows are bad.

    ``count``: the number of bad rows if ``bad_rows`` contains only the first of them.
    """
    count = len(bad_rows) if count is None else count
    if total and count >= total:
        raise DataError(f"None of the {total} rows of {origin} can be used:\n{listing(bad_rows, count=count)}")
    if total and count / total > max_share:
        raise DataError(
            f"{count} of the {total} rows of {origin} cannot be used, more than the {max_share:.1%} allowed; "
            f"fix them, or raise data.max_bad_share:\n{listing(bad_rows, count=count)}"
        )
