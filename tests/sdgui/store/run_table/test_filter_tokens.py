"""Filters: positions of tokens, meanings of names and values, and limits."""

from __future__ import annotations

import math
import time

import pytest

from sdgui.store.run_table.expressions import And, Comparison, ExpressionError, Not, OneOf, Or, Word, fields_in
from sdgui.store.run_table.fields import Catalogue, Field, Kind, Source, UnknownFieldError, fact, metric, setting
from sdgui.store.run_table.lexer import tokens
from sdgui.store.run_table.parser import MAX_DEPTH, MAX_LENGTH, MAX_PARTS, parse, read_value

METRICS = ("val/student/image_to_text_R@1", "val/teacher/image_to_text_R@1", "train/loss", "val/student/xR@1")
CATALOGUE = Catalogue(METRICS)


def test_each_token_has_its_position() -> None:
    text = """ "a \\" b" and last(train/loss)<=3 OR at( train/loss , 7 )~'x' not (wörd!, b!=4) == in"""
    found = tokens(text)
    assert [token.kind for token in found] == [
        "string", "and", "word", "operator", "word", "or", "word", "operator", "string", "not", "open", "word", "comma",
        "word", "operator", "word", "close", "operator", "in",
    ]  # fmt: skip
    assert [text[token.start : token.end] for token in found] == [
        '"a \\" b"', "and", "last(train/loss)", "<=", "3", "OR", "at( train/loss , 7 )", "~", "'x'", "not", "(",
        "wörd!", ",", "b", "!=", "4", ")", "==", "in",
    ]  # fmt: skip
    assert [token.text for token in found if token.kind in ("string", "operator")] == [
        'a " b', "<=", ":", "x", "!=", "=",
    ]  # fmt: skip
    for text, start, end in (("ab 'c", 3, 5), ('"', 0, 1)):
        with pytest.raises(ExpressionError, match="This quote is not closed") as caught:
            tokens(text)
        assert (caught.value.start, caught.value.end) == (start, end)


@pytest.mark.parametrize(
    ("text", "start", "end", "sentence"),
    [
        ("a and ", 5, 6, "Expected a term here"),
        ("not", 3, 4, "Expected a term here"),
        ("seed =", 6, 7, "“seed =” needs a value"),
        ("seed = )", 7, 8, "“seed =” needs a value"),
        ("seed in (", 9, 10, "“seed =” needs a value"),
        ("seed in (1 2)", 8, 9, "This list is not closed"),
        ("a < 3", 0, 1, "There is no setting, metric or column “a”"),
        ("= 3", 0, 1, "Expected a term before “=”"),
        ("a , b", 2, 3, "Expected a term before “,”"),
        ("(a b", 0, 1, "This parenthesis is not closed"),
        ("seed in 3", 5, 7, "Expected a term before “in”"),
    ],
)
def test_a_missing_part_is_reported_at_its_position(text: str, start: int, end: int, sentence: str) -> None:
    with pytest.raises(ExpressionError, match=sentence) as caught:
        parse(text, CATALOGUE)
    assert (caught.value.start, caught.value.end) == (start, end)


def test_limits_of_a_filter() -> None:
    assert parse("", CATALOGUE) == parse("  ", CATALOGUE) == And(())
    most = " ".join(["a"] * MAX_PARTS)
    found = parse(most, CATALOGUE)
    assert isinstance(found, And)
    assert len(found.parts) == MAX_PARTS
    with pytest.raises(ExpressionError, match="too many parts") as caught:
        parse(f"{most} b", CATALOGUE)
    assert (caught.value.start, caught.value.end) == (len(most) + 1, len(most) + 2)
    parse("not " * MAX_DEPTH + "a", CATALOGUE)
    with pytest.raises(ExpressionError, match="too many parts"):
        parse("not " * (MAX_DEPTH + 1) + "a", CATALOGUE)
    parse("(" * 30 + "a" + ")" * 30 + " (b)" * 30, CATALOGUE)
    parse("a" * MAX_LENGTH, CATALOGUE)
    with pytest.raises(ExpressionError, match="has 4001 characters; the limit is 4000") as caught:
        parse("a" * (MAX_LENGTH + 1), CATALOGUE)
    assert (caught.value.start, caught.value.end) == (MAX_LENGTH, MAX_LENGTH + 1)
    listed = parse(f"seed in ({','.join(['1'] * MAX_PARTS)})", CATALOGUE)
    assert isinstance(listed, OneOf)
    with pytest.raises(ExpressionError, match="The list has 201 values; the limit is 200"):
        parse(f"seed in ({','.join(['1'] * (MAX_PARTS + 1))})", CATALOGUE)


def test_and_binds_tighter_than_or_and_adjacent_words_must_all_match() -> None:
    a, b, c = Word("a"), Word("b"), Word("c")
    assert parse("a b or c", CATALOGUE) == parse("a and b OR c", CATALOGUE) == Or((And((a, b)), c))
    assert parse("a (b or c)", CATALOGUE) == And((a, Or((b, c))))
    assert parse("not a b", CATALOGUE) == And((Not(a), b))
    seed = parse("seed == 3", CATALOGUE)
    assert seed == Comparison(setting("seed"), "=", 3.0)
    whole = parse("not (seed=3 or step in (1,2)) state:done", CATALOGUE)
    assert [field.name for field in fields_in(whole)] == ["seed", "step", "state"]


def test_meanings_of_a_name() -> None:
    both = METRICS[:2]
    wanted = {
        "state": fact("state"),
        "tags": fact("tag"),
        "time": fact("duration"),
        "total_steps": fact("steps"),
        "seed": setting("seed"),
        "optim.learning_rate": setting("optim.learning_rate"),
        "train/loss": metric("train/loss"),
        "best(train/loss)": metric("train/loss"),
        "last(train/loss)": metric("train/loss", "last"),
        "at(train/loss, 50)": metric("train/loss", "at", step=50),
        "at( train/loss,7 )": metric("train/loss", "at", step=7),
        "val/R@1": metric("val/R@1", "best", both),
        "last(val/R@1)": metric("val/R@1", "last", both),
        "at(val/R@1, 3)": metric("val/R@1", "at", both, 3),
        "val/student/R@1": metric("val/student/R@1", "best", both[:1]),
    }
    for name, field in wanted.items():
        found = CATALOGUE.field(name)
        assert found == field, name
        assert CATALOGUE.field(found.name) == field, "as it is kept in a saved view"
    kinds = [
        CATALOGUE.field(name).kind for name in ("state", "step", "created", "duration", "tag", "seed", "train/loss")
    ]
    assert kinds == [Kind.TEXT, Kind.NUMBER, Kind.TIME, Kind.DURATION, Kind.TAGS, None, Kind.NUMBER]
    for name in ("last(state)", "best(seed)", "at(state, 3)", "R@1", "val/", "/R@1", "val/1", "loss"):
        with pytest.raises(UnknownFieldError, match="There is no setting, metric or column"):
            CATALOGUE.field(name)
    for name, hint in (
        ("loss", "did you mean train/loss?"),
        ("learning_rate", "optim.learning_rate"),
        ("stat", "state"),
    ):
        with pytest.raises(UnknownFieldError, match=hint.replace("?", r"\?")):
            CATALOGUE.field(name)
    with pytest.raises(UnknownFieldError, match=r"“zzzzqq”\.$"):
        CATALOGUE.field("zzzzqq")
    with pytest.raises(KeyError):
        fact("seed")
    names = CATALOGUE.names()
    assert names[0] == "name"
    assert set(METRICS) <= set(names)
    assert "optim.learning_rate" in names


NOW = 1e9
STATE, STEP, SEED, LOSS = fact("state"), fact("step"), setting("seed"), metric("train/loss")
CREATED, DURATION, TAG = fact("created"), fact("duration"), fact("tag")


@pytest.mark.parametrize(
    ("field", "operator", "text", "value"),
    [
        (STATE, "=", "done", "done"),
        (STATE, ":", "40%", "40%"),
        (TAG, "!=", "a", "a"),
        (STEP, "=", "None", None),
        (STATE, "!=", "none", None),
        (STEP, ">", "1_000", 1000.0),
        (STEP, "<", "40%", 0.4),
        (LOSS, "<=", "1e-3", 1e-3),
        (SEED, "=", "TRUE", True),
        (SEED, "<", "false", False),
        (SEED, "=", "3", 3.0),
        (SEED, "=", "abc", "abc"),
        (SEED, ":", "3", "3"),
        (SEED, "=", "inf", "inf"),
        (DURATION, "<", "90", 90.0),
        (DURATION, "<", "90s", 90.0),
        (DURATION, "<", "1.5min", 90.0),
        (DURATION, "<", "2m", 120.0),
        (DURATION, "<", "1h30min5s", 5405.0),
        (DURATION, "<", "2d", 2 * 86400.0),
        (DURATION, "<", "1w", 7 * 86400.0),
        (CREATED, ">", "3d", NOW - 3 * 86400.0),
        (CREATED, ">", "60", NOW - 60.0),
        (CREATED, ">", "2026", time.mktime((2026, 1, 1, 0, 0, 0, 0, 0, -1))),
        (CREATED, ">", "2026-02", time.mktime((2026, 2, 1, 0, 0, 0, 0, 0, -1))),
        (CREATED, ">", "2026-02-03", time.mktime((2026, 2, 3, 0, 0, 0, 0, 0, -1))),
        (CREATED, ">", "2026-02-03 04:05", time.mktime((2026, 2, 3, 4, 5, 0, 0, 0, -1))),
        (CREATED, ">", "2026-02-03T04:05", time.mktime((2026, 2, 3, 4, 5, 0, 0, 0, -1))),
        (CREATED, ">", "2026-02-03 04:05:06", time.mktime((2026, 2, 3, 4, 5, 6, 0, 0, -1))),
    ],
)
def test_meanings_of_a_value(field: Field, operator: str, text: str, value: object) -> None:
    found = read_value(field, operator, text, False, NOW)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("field", "operator", "text", "said"),
    [
        (STEP, "<", "none", "“none” works only with = and !="),
        (STATE, "<=", "done", "State is text; compare it with =, != or :"),
        (TAG, ">", "a", "Tags is text"),
        (STEP, ":", "3", "Step is a number; compare it with <"),
        (LOSS, ":", "3", "train/loss is a number"),
        (STEP, "=", "nan", "Step is compared with a number, such as 0.4 or 40%, not with “nan”"),
        (STEP, "=", "inf%", "not with “inf%”"),
        (SEED, "<", "abc", "< compares numbers, but “abc” is not a number"),
        (DURATION, "<", "3 parsecs", "Duration is compared with a time such as 90s"),
        (DURATION, "<", "3s!", "not with “3s!”"),
        (
            CREATED,
            ">",
            "soon",
            "Created is compared with a date such as 2026-01-31, or an age such as 3d, not with “soon”",
        ),
    ],
)
def test_invalid_values_for_a_field(field: Field, operator: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_value(field, operator, text, False, NOW)


def test_quoted_text_is_literal() -> None:
    assert read_value(STATE, "=", "none", True, NOW) == "none"
    assert read_value(SEED, "=", "true", True, NOW) == "true"
    assert read_value(SEED, "=", "3", True, NOW) == "3"
    assert read_value(STEP, "=", "3", True, NOW) == 3.0
    with pytest.raises(ValueError, match="compares numbers"):
        read_value(SEED, "<", "3", True, NOW)
    assert math.isclose(float(str(read_value(STEP, "=", "12.5%", False, NOW))), 0.125)
    assert Source.RUN is fact("step").source
