"""What two people write at once: lines of a note are merged, tags are added and removed; nothing is lost.

A merge is the classic one of three texts: both sides' changes against the text that both began with. Where both changed
the same lines it does not choose: ``NoteConflictError`` holds both, to be asked about.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

from sdgui.store.records import StoreError


class NoteConflictError(StoreError):
    """Two people changed the same lines of a note. ``theirs`` is stored, ``yours`` is not yet."""

    def __init__(self, before: str, theirs: str, yours: str) -> None:
        super().__init__("Someone else changed the same lines of this note while you wrote; choose what to keep.")
        self.before, self.theirs, self.yours = before, theirs, yours

    @property
    def both(self) -> str:
        """Theirs, then the lines of yours that it does not have."""
        have = set(self.theirs.splitlines())
        added = [line for line in self.yours.splitlines() if line not in have]
        return "\n".join([*self.theirs.splitlines(), *added])


def merged_note(before: str, theirs: str, yours: str) -> str:
    """``theirs`` with the changes that ``yours`` makes of ``before``; NoteConflictError where they touch."""
    if theirs in (before, yours):
        return yours
    if yours == before:
        return theirs
    base = before.splitlines()
    changes = sorted([*_changes(base, theirs.splitlines()), *_changes(base, yours.splitlines())])
    lines: list[str] = []
    at = 0
    previous: tuple[int, int, tuple[str, ...]] | None = None
    for start, end, new in changes:
        if previous == (start, end, new):
            continue  # both made the same change
        if previous is not None and (start < previous[1] or start == previous[0]):
            raise NoteConflictError(before, theirs, yours)
        lines += [*base[at:start], *new]
        at, previous = end, (start, end, new)
    return "\n".join([*lines, *base[at:]])


def _changes(base: list[str], side: list[str]) -> list[tuple[int, int, tuple[str, ...]]]:
    """``(start, end, lines)``: lines of ``base`` from start up to end become these."""
    found: list[tuple[int, int, tuple[str, ...]]] = []
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, base, side, autojunk=False).get_opcodes():
        if kind == "replace" and i2 - i1 == j2 - j1:  # line for line
            pairs = zip(range(i1, i2), side[j1:j2], strict=True)
            found += [(at, at + 1, (line,)) for at, line in pairs if base[at] != line]
        elif kind != "equal":
            found.append((i1, i2, tuple(side[j1:j2])))
    return found


def merged_tags(before: Iterable[str], theirs: Iterable[str], yours: Iterable[str]) -> list[str]:
    """``theirs`` with what ``yours`` added to and removed from ``before``, whatever the case."""
    began, mine = {tag.casefold() for tag in before}, {tag.casefold() for tag in yours}
    kept = [tag for tag in theirs if tag.casefold() in mine or tag.casefold() not in began]
    have = {tag.casefold() for tag in kept}
    return kept + [tag for tag in yours if tag.casefold() not in have and tag.casefold() not in began]
