"""Completions at the cursor of the filter. No Qt.

Flow: the filter box gives its text and cursor -> ``completions`` -> a list of texts with what they replace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.spec.run.status import RunState
from sdgui.store.run_table.expressions import ExpressionError
from sdgui.store.run_table.fields import FACTS, Catalogue, Field, Kind, Source, UnknownFieldError
from sdgui.store.run_table.lexer import Token, tokens

MOST = 40
_OPERATORS = {
    Kind.TEXT: (":", "=", "!="),
    Kind.TAGS: (":", "!="),
    Kind.NUMBER: (">", "<", ">=", "<=", "=", "!="),
    Kind.TIME: (">", "<"),
    Kind.DURATION: (">", "<"),
}
_ANY = ("=", "!=", "<", ">", "<=", ">=", ":", "in (")
_EXAMPLES = {Kind.TIME: ("1d", "7d", "30d"), Kind.DURATION: ("10min", "1h", "1d")}


@dataclass(frozen=True)
class Completion:
    """``text`` replaces the text from ``start`` to ``end``; ``about`` is its description."""

    text: str
    start: int
    end: int
    about: str = ""


STEPS = "at"  # among the values: the steps that are offered in ``at(METRIC, STEP)``
Values = Mapping[str, Sequence[str]]  # field name -> values that runs have: tags


def completions(text: str, cursor: int, catalogue: Catalogue, values: Values) -> list[Completion]:
    """The completions at the cursor, best first; may be empty."""
    before = text[:cursor]
    try:
        tokens_before = tokens(before)
    except ExpressionError:  # inside of a quote
        return []
    typed = (
        tokens_before[-1]
        if tokens_before
        and tokens_before[-1].end == cursor
        and tokens_before[-1].kind not in ("open", "close", "comma")
        else None
    )
    previous_tokens = tokens_before[:-1] if typed is not None else tokens_before
    if typed is not None and typed.kind == "operator":
        previous_tokens, typed = tokens_before, None
    start, part = (typed.start, typed.text) if typed is not None else (cursor, "")
    end = _end_of_word(text, cursor)
    if (at_step := _at_step(previous_tokens, part, start, end, catalogue, values)) is not None:
        return at_step
    if previous_tokens and previous_tokens[-1].kind == "operator" and len(previous_tokens) > 1:
        return _values(previous_tokens[-2], part, start, end, catalogue, values)
    if (
        typed is None
        and previous_tokens
        and previous_tokens[-1].end < cursor
        and (field := _field(previous_tokens[-1], catalogue))
    ):
        operators = _ANY if field.kind is None else _OPERATORS[field.kind]
        return [Completion(operator, start, end) for operator in operators]
    return _names(
        part,
        start,
        end,
        catalogue,
        bool(previous_tokens) and previous_tokens[-1].kind not in ("and", "or", "not", "open"),
    )


def _at_step(
    previous_tokens: Sequence[Token], part: str, start: int, end: int, catalogue: Catalogue, values: Values
) -> list[Completion] | None:
    """Inside of ``at(METRIC, STEP)``: the metric, then the step; None elsewhere."""
    if _is_call(previous_tokens[-2:]):
        return [Completion(f"{metric}, ", start, end, "metric") for metric in _ranked(part, catalogue.metrics)]
    if len(previous_tokens) > 3 and previous_tokens[-1].kind == "comma" and _is_call(previous_tokens[-4:-2]):
        return [Completion(f"{step})", start, end, "step") for step in _ranked(part, values.get(STEPS, ()))]
    return None


def _is_call(opening: Sequence[Token]) -> bool:
    if [token.kind for token in opening] != ["word", "open"]:
        return False
    return opening[0].text == "at" and opening[0].end == opening[1].start


def _end_of_word(text: str, cursor: int) -> int:
    match = re.compile(r"[^\s()<>=!:~,\"']*").match(text, cursor)
    return match.end() if match else cursor


def _field(token: Token, catalogue: Catalogue) -> Field | None:
    if token.kind != "word":
        return None
    try:
        return catalogue.field(token.text)
    except UnknownFieldError:
        return None


def _values(name: Token, part: str, start: int, end: int, catalogue: Catalogue, values: Values) -> list[Completion]:
    field = _field(name, catalogue)
    if field is None:
        return []
    choices: Sequence[str] = values.get(field.name, ())
    if field.name == "state":
        choices = [str(state) for state in RunState]
    choices = choices or _EXAMPLES.get(field.kind or Kind.TEXT, ())
    quoted = [
        choice if re.fullmatch(r"[^\s()<>=!:~,\"']+", choice) else '"' + choice.replace('"', '\\"') + '"'
        for choice in choices
    ]
    return [Completion(choice, start, end) for choice in _ranked(part, quoted)]


def _names(part: str, start: int, end: int, catalogue: Catalogue, is_joined: bool) -> list[Completion]:
    names = _ranked(part, catalogue.names())
    call = [Completion("at(", start, end, "a metric at a step")] if part and "at(".startswith(part.lower()) else []
    words = [word for word in ("and", "or", "not") if part and word.startswith(part.lower())] if is_joined else []
    suggestions = [Completion(word, start, end) for word in words] + call
    return suggestions + [Completion(name, start, end, _about(name, catalogue)) for name in names]


def _about(name: str, catalogue: Catalogue) -> str:
    field = catalogue.field(name)
    if field.source is Source.RUN:
        return FACTS[field.key].title
    return "setting" if field.source is Source.SETTING else "metric"


def _ranked(part: str, names: Sequence[str]) -> list[str]:
    """Names that contain ``part``: prefixes first, then prefixes of a part of the name, then the others."""
    lower = part.casefold()
    if not lower:
        return list(names[:MOST])

    def rank(name: str) -> int:
        plain_name = name.casefold().lstrip('"')
        if plain_name.startswith(lower):
            return 0
        return 1 if any(piece.startswith(lower) for piece in re.split(r"[./_ ]", plain_name)) else 2

    fitting = [name for name in names if lower in name.casefold() and name != part]
    return sorted(fitting, key=rank)[:MOST]
