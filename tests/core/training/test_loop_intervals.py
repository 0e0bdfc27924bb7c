"""What the loop does between steps, part by part: when it validates and saves, what it hears, and what it counts."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.data.batch import Batch, View
from core.model.runtime import Runtime
from core.spec.config import override
from core.spec.run.events import CheckpointSaved, Evaluated, Sample
from core.training import loop, validator
from core.training.assembly import Assembly
from core.training.checkpointing import PendingSave, RunProgress
from core.training.errors import Interrupt
from core.training.loop import Loop
from core.training.team.signals import Requests
from core.training.validator import Validator
from tests.core.variants import variant_config

CONFIG = variant_config("sd-clip-every-step")
HERE = Runtime(torch.device("cpu"), "bf16")


# Validation
class Written:
    """Events as they are written."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def write(self, event: Any) -> None:
        self.all.append(event)


def validates(every: int = 0, captioning: float = 0.0, **more: Any) -> tuple[Validator, Written]:
    settings = [f"validation.every_steps={every}", "validation.batch_size=5"]
    config = override(CONFIG, settings)
    if captioning:
        objectives = config.objectives.model_copy(
            update={"captioning": config.objectives.captioning.model_copy(update={"weight": captioning})}
        )
        config = config.model_copy(update={"objectives": objectives})
    parts: Any = SimpleNamespace(
        loader=SimpleNamespace(steps_per_epoch=4, total_steps=10), network="own", runtime=HERE, teacher=None,
        val="val data", test=None, retain={},
    )  # fmt: skip
    vars(parts).update(more)
    written: Any = Written()
    return Validator(config, parts, written, lambda what, done, of: None), written


def test_a_validation_is_due_each_epoch_or_each_so_many_steps_and_after_the_last() -> None:
    def due(**settings: Any) -> list[int]:
        return [step for step in range(1, 11) if validates(**settings)[0].due(step)]

    assert due() == [4, 8, 10]
    assert due(every=3) == [3, 6, 9, 10]
    assert due(val=None) == []


@pytest.mark.parametrize(("captioning", "moves"), [(0.0, None), (0.5, True), (0.0, False)])
def test_a_validation_writes_its_numbers_then_what_it_found(
    monkeypatch: pytest.MonkeyPatch, captioning: float, moves: bool | None
) -> None:
    asked: list[Any] = []
    teacher = None if moves is None else SimpleNamespace(network="theirs", moves=moves)
    networks = {"student": "own"} | ({"teacher": "theirs"} if moves else {})

    def validate(*what: Any) -> Any:
        asked.append(what[:5])
        return {f"{what[3]}/student/mean_recall": 0.5}, {"features": 1}

    def losses(*what: Any) -> Any:
        asked.append(("captions", what[0], what[1], what[3], what[4], what[6]))
        return {"val/student/caption_loss": 2.0}

    monkeypatch.setattr(validator, "validate", validate)
    monkeypatch.setattr(validator, "caption_losses", losses)
    monkeypatch.setattr(validator, "retrieval_sample", lambda data, features: {"found": [data]})
    monkeypatch.setattr(validator, "caption_sample", lambda networks, data, runtime: {"written": [data, runtime]})
    own, written = validates(captioning=captioning, teacher=teacher, test="test data")
    assert own.validate(6, 0.3) == (0.5, "student")
    through = CONFIG.objectives.captioning.through
    in_full = Runtime(HERE.device, "fp32")
    wanted: list[Any] = [(networks, "val data", in_full, "val", 5)]
    captions = [("captions", networks, "val data", "val", 5, through)] if captioning else []
    assert asked == wanted + captions
    values = {"val/student/mean_recall": 0.5} | ({"val/student/caption_loss": 2.0} if captioning else {})
    kinds = [(type(event), getattr(event, "what", ""), event.step) for event in written.all]
    more = [(Sample, "captions", 6)] if captioning else []
    assert kinds == [(Evaluated, "", 6), (Sample, "retrieval", 6), *more]
    assert written.all[0].values == values
    assert written.all[1].content == {"found": ["val data"]}
    written.all.clear()
    own.test(10)
    assert [(type(event), event.step, sorted(event.values)[0]) for event in written.all] == [
        (Evaluated, 10, "test/student/mean_recall"),
    ]  # fmt: skip
    without, nothing = validates()
    without.test(10)
    assert nothing.all == []


# Saving
def saves(step: int, improved: bool = False, due: bool = True, intervals: tuple[int, ...] = (4,)) -> tuple[int, int]:
    """How often it validated, and how often it saved, after ``step`` of 10."""
    done: list[str] = []

    def by_first(call: Any) -> Any:
        done.append("validated")
        return call()

    own: Any = SimpleNamespace(
        validator=SimpleNamespace(due=lambda _: due, validate=lambda *_: (0.5, "student"), values={}),
        callbacks=SimpleNamespace(on_validation=lambda step, values: None),
        step=step, total_steps=10, schedules=SimpleNamespace(progress=lambda _: 0.5), _intervals=intervals,
        progress=SimpleNamespace(record_score=lambda score, network: improved), save=lambda: done.append("saved"),
        _write_reports=lambda wait: None, _on_first_rank=by_first,
    )  # fmt: skip
    Loop._validate_and_save(own)
    return done.count("validated"), done.count("saved")


def test_it_is_saved_at_intervals_when_it_was_never_better_and_at_the_end() -> None:
    assert saves(3) == (1, 0)
    assert saves(3, improved=True) == (1, 1)
    assert saves(3, improved=True, due=False) == (0, 0)
    assert saves(4, due=False) == saves(10, due=False) == (0, 1)
    assert saves(6, intervals=(4, 3)) == (1, 1)
    assert saves(7, intervals=(4, 3)) == (1, 0)


def test_a_checkpoint_is_told_of_once_when_it_is_on_the_disk() -> None:
    gate, written = threading.Event(), Written()

    def write() -> tuple[str, bool]:
        assert gate.wait(60)
        return "step-00000003", True

    progress = RunProgress(3, 0.5, "teacher", 0.5)
    own: Any = SimpleNamespace(_saving=PendingSave(progress, write, background=True), events=written)
    progress.begin_step()
    Loop._announce_saved(own)
    assert written.all == []
    gate.set()
    Loop._announce_saved(own, wait=True)
    [event] = written.all
    assert isinstance(event, CheckpointSaved)
    assert (event.step, event.name, event.best, event.network) == (3, "step-00000003", True, "teacher")
    Loop._announce_saved(own, wait=True)
    assert len(written.all) == 1
    own._saving = PendingSave(progress, lambda: ("step-00000004", False), background=False)
    Loop._announce_saved(own)
    assert len(written.all) == 2, "it was written at once"


@pytest.mark.parametrize(("saved", "times"), [(None, 1), (2, 1), (3, 0)])
def test_a_run_that_is_left_saves_what_is_not_saved_and_waits(saved: int | None, times: int) -> None:
    did: list[Any] = []
    own: Any = SimpleNamespace(
        _saved=saved, step=3, save=lambda: did.append("save"), _announce_saved=lambda wait: did.append(wait)
    )
    Loop.leave(own)
    assert did == ["save"] * times + [True]


# What is asked of it
@pytest.mark.parametrize(
    ("file", "signal", "agreed", "leads", "in_step", "outcome"),
    [
        (None, None, None, True, True, None),
        ("pause", None, "pause", True, True, "paused"),
        ("stop", None, "stop", True, False, "stopped"),
        ("stop", "pause", "stop", True, True, "stopped"),
        (None, "pause", "pause", True, False, "paused"),
        (None, "other", "stop", True, False, "stopped"),
        ("stop", None, None, False, True, None),
        ("stop", None, None, False, False, None),
        (None, None, "pause", False, True, "paused"),
    ],
)
def test_what_ends_a_run_after_its_step(
    file: str | None, signal: str | None, agreed: str | None, leads: bool, in_step: bool, outcome: str | None
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

    team = SimpleNamespace(leads=leads, agree_on_request=agree)
    own: Any = SimpleNamespace(
        run_dir=SimpleNamespace(asked=lambda: file), team=team, _requests=asked, _ranks_in_step=in_step
    )
    if outcome is None:
        Loop.check_control(own)
    else:
        with pytest.raises(Interrupt) as caught:
            Loop.check_control(own)
        assert caught.value.outcome == outcome
    assert heard == ([(file if leads else None) or signal] if in_step else []), "all ranks ask at the same place"


# Speed and memory of beliefs
def test_operations_are_counted_of_the_first_steps_where_a_peak_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([10, 20, 60])
    monkeypatch.setattr(loop, "count_operations", lambda step: (step(), next(counts)))
    own: Any = SimpleNamespace(
        _peak=1e12, _counts=[], schedules=SimpleNamespace(teaching=SimpleNamespace(every=3)),
        train_step=lambda batch: f"trained {batch}",
    )  # fmt: skip
    operations: Any = Loop._operations.fget  # type: ignore[attr-defined]
    assert operations(own) == 0.0
    for number in range(5):
        assert Loop._step_with_count(own, number) == f"trained {number}"  # type: ignore[arg-type,comparison-overlap]
    assert own._counts == [10, 20, 60]
    assert operations(own) == 30.0
    unknown: Any = SimpleNamespace(**{**vars(own), "_peak": None, "_counts": []})
    assert Loop._step_with_count(unknown, 7) == "trained 7"  # type: ignore[arg-type,comparison-overlap]
    assert unknown._counts == []


@pytest.mark.parametrize(
    ("multiple", "length", "wanted"), [(1, 5, 5), (4, 5, 8), (4, 8, 8), (16, 5, 10), (16, 10, 10), (3, 1, 3)]
)
def test_captions_are_padded_to_few_lengths(multiple: int, length: int, wanted: int) -> None:
    towers = SimpleNamespace(context_length=10, pad_id=7)
    assembly: Any = SimpleNamespace(network=SimpleNamespace(towers=towers), text_multiple=multiple)
    batch = Batch(torch.arange(2), torch.ones(2, length, dtype=torch.long), View(torch.zeros(2, 3, 4, 4)))
    padded = Assembly._pad_captions(assembly, batch)
    assert padded.texts.shape == (2, wanted)
    assert (padded.texts[:, :length] == 1).all()
    assert (padded.texts[:, length:] == 7).all()
    assert (padded is batch) == (wanted == length)


def test_what_was_skipped_is_told_before_anything_is_saved() -> None:
    did: list[Any] = []

    def note(name: str) -> Any:
        return lambda *given, **named: did.append((name, *given, *named.values()))

    made: Any = SimpleNamespace(
        step=7, total_steps=9, progress="progress", _write_reports=note("reports"), _log_skipped=note("skipped"),
        _guard=SimpleNamespace(take_numbers=lambda: "taken"), heartbeat=SimpleNamespace(update=note("heartbeat")),
        events=SimpleNamespace(sync=note("sync")), _announce_saved=note("announce"),
        checkpointing=SimpleNamespace(save=note("save")), _saved=-1,
    )  # fmt: skip
    Loop.save(made)
    assert did == [
        ("reports", True), ("skipped", "taken"), ("heartbeat", "saving", 7, 9), ("sync",), ("announce", True),
        ("save", "progress"), ("announce",),
    ]  # fmt: skip
    assert made._saved == 7
