"""Numbers of W&B histories, written by hand: names and values of every kind next to each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.spec.run.events import Metrics
from core.tracking.foreign import wandb
from core.tracking.foreign.runs import ForeignRun
from tests.core.tracking.foreign import hostile_logs
from tests.core.tracking.foreign.hostile_logs import field

_NUMBERS = st.integers(-(1 << 70), 1 << 70) | st.floats(allow_infinity=False, allow_nan=False)
_NOT_FINITE = ["NaN", "Infinity", "-Infinity"]
_NO_NUMBERS = st.sampled_from(['"text"', "null", "true", "[1]", "1 2", "-", "1e", ""])


@given(
    st.dictionaries(
        st.text("ab/é\x82\x01\n\x12", min_size=1, max_size=140),  # also the numbers of the fields of items
        _NUMBERS.map(json.dumps) | st.sampled_from(_NOT_FINITE) | _NO_NUMBERS,
    ),
    st.booleans(),
)
def test_each_number_of_a_wandb_history_is_read_whatever_is_logged_beside_it(
    tmp_path_factory: pytest.TempPathFactory, logged: dict[str, str], nested: bool
) -> None:
    """Names of any length, as one key or nested keys, and values that are no numbers between those that are."""
    items = b""
    for name, value in logged.items():
        keys = [field(2, key.encode()) for key in name.split("/")] if nested else [field(1, name.encode())]
        items += field(1, b"".join(keys) + field(16, value.encode()))
    file = tmp_path_factory.mktemp("wandb") / "run-x.wandb"
    file.write_bytes(hostile_logs.wandb(field(2, items + field(2, b"\x08\x05"))))
    (part,) = wandb.read(ForeignRun(wandb.TOOL, file, file.parent, "x", "p"), {})
    read = {name: value for event in part.events if isinstance(event, Metrics) for name, value in event.values.items()}
    numbers = {name: text for name, text in logged.items() if text[-1:].isdigit() or text in _NOT_FINITE}
    expected = {name: float(json.loads(text)) for name, text in numbers.items() if text != "1 2"}
    assert {name: repr(value) for name, value in read.items()} == {name: repr(v) for name, v in expected.items()}


def test_numbers_with_equal_names_are_reported(tmp_path: Path) -> None:
    nested = field(2, b"train") + field(2, b"loss") + field(16, b"0.25")
    items = field(1, nested) + field(1, field(2, b"train/loss") + field(16, b"0.5"))
    file = tmp_path / "run-x.wandb"
    file.write_bytes(hostile_logs.wandb(field(2, items + field(2, b"\x08\x05"))))
    (part,) = wandb.read(ForeignRun(wandb.TOOL, file, file.parent, "x", "p"), {})
    assert [event.values for event in part.events if isinstance(event, Metrics)] == [{"train/loss": 0.5}]
    assert +part.problems == {"values with the name of another value at the same step": 1}


def test_a_number_longer_than_its_item_is_corrupted(tmp_path: Path) -> None:
    item = field(1, field(2, b"ab") + field(16, b"5"))
    file = tmp_path / "run-x.wandb"
    file.write_bytes(hostile_logs.wandb(field(2, item + b"5" * 9001)))
    (part,) = wandb.read(ForeignRun(wandb.TOOL, file, file.parent, "x", "p"), {})
    assert (part.events, +part.problems) == ([], {"corrupted records in run-x.wandb": 1})
