"""The grammar of filters: printed filters parse to themselves, and errors have a position."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdgui.store.run_table.expressions import (
    And,
    Comparison,
    Expression,
    ExpressionError,
    Not,
    OneOf,
    Or,
    Value,
    Word,
)
from sdgui.store.run_table.fields import Catalogue, Field
from sdgui.store.run_table.lexer import KEYWORDS
from sdgui.store.run_table.parser import parse

METRICS = ("train/loss", "val/student/image_to_text_R@1", "val/teacher/image_to_text_R@1", "val/student/mean_recall")
CATALOGUE = Catalogue(METRICS)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
TEXTS = st.text(max_size=12)
WORDS = st.text("abcäß.-_/@#1é", min_size=1, max_size=8).filter(lambda word: word not in KEYWORDS)


def fields(names: list[str]) -> st.SearchStrategy[Field]:
    return st.sampled_from([CATALOGUE.field(name) for name in names])


ORDERED = fields(["optim.learning_rate", "val/R@1", "last(train/loss)", "step", "duration"])
TEXTUAL = fields(["note", "state", "tag", "towers.architecture"])
COMPARISONS = st.one_of(
    st.builds(Comparison, ORDERED, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), NUMBERS),
    st.builds(Comparison, TEXTUAL, st.sampled_from(["=", "!=", ":"]), TEXTS),
    st.builds(Comparison, fields(["views.shared"]), st.sampled_from(["=", "!="]), st.sampled_from([True, False, None])),
    st.builds(OneOf, TEXTUAL, st.lists(TEXTS, min_size=1, max_size=3).map(tuple)),
)
LEAVES: st.SearchStrategy[Expression] = st.builds(Word, WORDS) | COMPARISONS


def _branches(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, inner) | st.builds(And, several) | st.builds(Or, several)


EXPRESSIONS = st.recursive(LEAVES, _branches, max_leaves=8)


def written(expression: Expression) -> str:
    match expression:
        case Word(text):
            return text
        case Comparison(field, operator, value):
            return f"{field.name}{operator} {_value(value)}"
        case OneOf(field, values):
            return f"{field.name} in ({', '.join(map(_value, values))})"
        case Not(part):
            return f"not ({written(part)})"
        case And(parts):
            return " AND ".join(f"({written(part)})" for part in parts)
        case Or(parts):
            return "  or ".join(f"({written(part)})" for part in parts)


def _value(value: Value) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return {True: "true", False: "false", None: "none"}[value] if not isinstance(value, float) else repr(value)


@given(EXPRESSIONS)
@settings(max_examples=15, deadline=None)
def test_a_printed_filter_parses_to_itself(expression: Expression) -> None:
    assert parse(written(expression), CATALOGUE, now=0.0) == expression


@given(st.text("abn or:<>=!()\"',%1.~\\\n", max_size=30) | st.text(max_size=30))
@settings(max_examples=15, deadline=None)
def test_any_text_parses_or_is_reported_at_its_position(text: str) -> None:
    problem = problem_of(text)
    assert problem is None or (0 <= problem.start < problem.end <= len(text) + 1 and str(problem).endswith((".", "?")))


def problem_of(text: str) -> ExpressionError | None:
    try:
        parse(text, CATALOGUE)
    except ExpressionError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("text", "place", "sentence"),
    [
        ("optim.learning_rat < 1", "optim.learning_rat", "did you mean optim.learning_rate"),
        ("tag:a and learning_rate<1", "learning_rate", "did you mean optim.learning_rate"),
        ("created > yesterday", "yesterday", "2026-01-31"),
        ("note = \ud800x", "\ud800", "not a valid character"),
        ("tag:\udfff", "\udfff", "not a valid character"),
        ("a) b", ")", "not understood"),
    ],
)
def test_an_error_has_its_position(text: str, place: str, sentence: str) -> None:
    with pytest.raises(ExpressionError, match=sentence) as caught:
        parse(text, CATALOGUE)
    assert text[caught.value.start : caught.value.end] == place
