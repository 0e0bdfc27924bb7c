"""What the loop hears between its steps, the operations that it counts, and the lengths of padded captions."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.data.batch import Batch, View
from core.training import loop
from core.training.assembly import Assembly
from core.training.errors import Interrupt
from core.training.loop import Loop
from core.training.team.signals import Requests


# What is asked of it
@pytest.mark.parametrize(
    ("file", "signal", "agreed", "is_leader", "in_step", "outcome"),
    [
        (None, None, None, True, True, None),
        ("pause", None, "pause", True, True, "paused"),
        ("stop", "pause", "stop", True, True, "stopped"),
        (None, "other", "stop", True, False, "stopped"),
        ("stop", None, None, False, False, None),
        (None, None, "pause", False, True, "paused"),
    ],
)
def test_conditions_that_end_a_run_after_a_step(
    file: str | None, signal: str | None, agreed: str | None, is_leader: bool, in_step: bool, outcome: str | None
) -> None:
    asked: Any = threading.Event() if signal == "other" else Requests()
    if signal == "other":
        asked.set()
    elif signal:
        asked.set_request(signal)
    heard: list[Any] = []

    def agree(what: Any) -> str | None:
        heard.append(what)
        return agreed

    team = SimpleNamespace(is_leader=is_leader, agree_on_request=agree)
    own: Any = SimpleNamespace(
        run_dir=SimpleNamespace(pending_request=lambda: file), team=team, _requests=asked, _in_lockstep=in_step
    )
    if outcome is None:
        Loop.check_control(own)
    else:
        with pytest.raises(Interrupt) as caught:
            Loop.check_control(own)
        assert caught.value.outcome == outcome
    assert heard == ([(file if is_leader else None) or signal] if in_step else []), "all ranks ask at the same place"


# Speed and memory of beliefs
def test_flops_are_counted_in_the_first_steps_where_a_peak_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([10, 20, 60])
    monkeypatch.setattr(loop, "count_operations", lambda step: (step(), next(counts)))
    own: Any = SimpleNamespace(
        _peak_flops=1e12, _operation_counts=[], schedules=SimpleNamespace(teacher=SimpleNamespace(every=3)),
        train_step=lambda batch: f"trained {batch}",
    )  # fmt: skip
    operations: Any = Loop._operations.fget  # type: ignore[attr-defined]
    assert operations(own) == 0.0
    for number in range(5):
        assert Loop._train_and_count_flops(own, number) == f"trained {number}"  # type: ignore[arg-type,comparison-overlap]
    assert own._operation_counts == [10, 20, 60]
    assert operations(own) == 30.0
    unknown: Any = SimpleNamespace(**{**vars(own), "_peak_flops": None, "_operation_counts": []})
    assert Loop._train_and_count_flops(unknown, 7) == "trained 7"  # type: ignore[arg-type,comparison-overlap]
    assert unknown._operation_counts == []


@pytest.mark.parametrize(("multiple", "length", "wanted"), [(1, 5, 5), (4, 5, 8), (4, 8, 8), (16, 5, 10)])
def test_captions_are_padded_to_few_lengths(multiple: int, length: int, wanted: int) -> None:
    towers = SimpleNamespace(context_length=10, pad_id=7)
    assembly: Any = SimpleNamespace(network=SimpleNamespace(towers=towers), text_length_multiple=multiple)
    batch = Batch(torch.arange(2), torch.ones(2, length, dtype=torch.long), View(torch.zeros(2, 3, 4, 4)))
    padded = Assembly._pad_captions(assembly, batch)
    assert padded.texts.shape == (2, wanted)
    assert (padded.texts[:, :length] == 1).all()
    assert (padded.texts[:, length:] == 7).all()
    assert (padded is batch) == (wanted == length)
