"""The filter of runs as a tree, each node with its position in the text. Plain data.

Flow: ``parser`` builds the tree from text, ``conditions`` turns it into SQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sdgui.store.records import StoreError
from sdgui.store.run_table.fields import Field

Value = float | str | bool | None  # None stands for "none", which only = and != accept


class ExpressionError(StoreError):
    """An error in a filter, between the positions ``start`` and ``end``."""

    def __init__(self, message: str, start: int, end: int) -> None:
        super().__init__(message)
        self.start, self.end = start, max(end, start + 1)


@dataclass(frozen=True)
class Word:
    """A word in any of a run's texts: name, tags, note, state, machine, owner, preset, failure."""

    text: str


@dataclass(frozen=True)
class Comparison:
    """``operator``: one of ``= != < <= > >= :``; ``:`` means "contains" for text and "has it" for tags."""

    field: Field
    operator: str
    value: Value


@dataclass(frozen=True)
class OneOf:
    """``field in (a, b)``."""

    field: Field
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Not:
    part: Expression


@dataclass(frozen=True)
class And:
    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Or:
    parts: tuple[Expression, ...]


Expression = Word | Comparison | OneOf | Not | And | Or
EVERY_RUN = And(())


def fields_in(expression: Expression) -> Iterator[Field]:
    """Every field that a filter compares."""
    match expression:
        case Comparison(field) | OneOf(field):
            yield field
        case Not(part):
            yield from fields_in(part)
        case And(parts) | Or(parts):
            for operand in parts:
                yield from fields_in(operand)
