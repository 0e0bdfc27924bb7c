"""Hostile copies of files that this program writes, for hypothesis: changed by structure and by byte.

``mutated(sample)`` draws from JSON-like ``sample`` the bytes of a file that somebody may hand to a user. ``survives``
runs a reader over such bytes and fails on anything but an answer or a sentence, on a second of computing and on
300 MiB of memory. A test with ``few_or_many`` runs ``feed`` with 60 examples, and with 10,000 under ``-m slow``.
"""

from __future__ import annotations

import copy
import json
import resource
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.spec.errors import UserError

HANG_SECONDS = 1.0  # of processor time: a busy machine is no fault of the reader
MOST_MEMORY = 300 << 20

_HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, -(2**70), 1e308, -0.0, 0.5, float("nan"), float("inf"),
    "", "x", "nan", "1", "../../up", "/etc/passwd", "a\x00b", "\ud800", "é" * 300, "y" * 5000,
    [], {}, [[]], [None], {"": None}, [1, "a", {}], {"kind": "metrics"}, {"a": {"b": {"c": []}}}, "{}",
    "<img src='file:///etc/hostname'>",
]  # fmt: skip
_RAW = ["9" * 400, "9" * 5000, "-" + "9" * 400, "1e999", "NaN", "[" * 500 + "]" * 500, '{"a":' * 300 + "1" + "}" * 300]
_MARK = "\u2620raw"


few_or_many = pytest.mark.parametrize("examples", [60, pytest.param(10_000, marks=pytest.mark.slow)])


def feed(use: Callable[[Any], object], values: st.SearchStrategy[Any], examples: int, *first: object) -> None:
    """Call ``use`` with each of ``first`` and with ``examples`` draws of ``values``."""

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(values)
    def each(value: object) -> None:
        use(value)

    for value in first:
        each = example(value)(each)
    each()


def mutated(sample: Any, line: bool = False) -> st.SearchStrategy[bytes]:
    """Bytes of ``sample`` with one to four wounds, in its structure or in its bytes; ``line``: written on one line."""
    return st.one_of(_by_structure(sample, line), _by_byte(_written(sample, line)))


def survives(read: Callable[[], object], seconds: float = HANG_SECONDS) -> None:
    """``read`` answers or raises a UserError of one sane sentence, in ``seconds`` of computing and bounded memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    for _ in range(3):  # a collection of garbage, or a machine that others use too, is no fault of the reader either
        began = time.process_time()
        try:
            read()
        except UserError as error:
            text = str(error)
            assert text, "a refusal without a word"
            assert len(text) < 4000, text[:4000]
        if time.process_time() - began < seconds:
            break
    else:
        raise AssertionError(f"three times it took more than {seconds} s")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before < MOST_MEMORY


@st.composite
def _by_structure(draw: st.DrawFn, sample: Any, line: bool) -> bytes:
    value: Any = [copy.deepcopy(sample)]  # in a list, so that the whole can be replaced as well
    raw: list[str] = []
    for _ in range(draw(st.integers(1, 4))):
        holder, key = draw(st.sampled_from(_places(value)))
        act = draw(st.sampled_from(["replace", "replace", "raw", "delete", "add", "repeat"]))
        if act == "raw":
            raw.append(draw(st.sampled_from(_RAW)))
            holder[key] = f"{_MARK}{len(raw) - 1}"
        elif act == "delete" and isinstance(holder, dict):
            del holder[key]
        elif act == "add" and isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = copy.deepcopy(draw(st.sampled_from(_HOSTILE)))
        elif act == "repeat" and isinstance(holder, list) and holder is not value:
            holder.extend([holder[key]] * draw(st.sampled_from([1, 3, 1000])))
        else:
            holder[key] = copy.deepcopy(draw(st.sampled_from(_HOSTILE)))
    text = _written(value[0], line)
    for place, one in enumerate(raw):
        text = text.replace(json.dumps(f"{_MARK}{place}").encode(), one.encode())
    return text


@st.composite
def _by_byte(draw: st.DrawFn, content: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        act = draw(st.sampled_from(["cut", "flip", "insert", "double", "remove"]))
        if act == "cut":
            content = content[:at]
        elif act == "flip" and at < len(content):
            content = content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
        elif act == "insert":
            content = content[:at] + draw(st.binary(min_size=1, max_size=12)) + content[at:]
        elif act == "double":
            content = content[:at] + content[max(0, at - 40) :]
        elif act == "remove":
            content = content[:at] + content[at + draw(st.integers(1, 8)) :]
    return content


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Each (holder, key) in plain data."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one))
        for key in keys:
            found.append((one, key))
            if isinstance(one[key], (dict, list)):
                waiting.append(one[key])
    return found


def _written(value: Any, line: bool) -> bytes:
    return json.dumps(value, indent=None if line else 1).encode("utf-8", "surrogatepass")
