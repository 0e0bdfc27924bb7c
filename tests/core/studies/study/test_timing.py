"""What a run's steps took and its validations between them, from its events, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.events import Evaluated, EventWriter, Metrics
from core.spec.run.folder import RunDir
from core.studies.study.job import timing, with_mean_recall
from core.studies.study.results import value_at


def test_values_between_validations_are_interpolated() -> None:
    curve = [{"seconds": 10.0, "values": {"student/R@1": 0.2}}, {"seconds": 20.0, "values": {"teacher/R@1": 0.6}}]
    assert value_at(curve, 15.0, "R@1") == pytest.approx(0.4)
    assert value_at(curve, 5.0, "R@1") == pytest.approx(0.1)
    assert value_at(curve, 99.0, "R@1") == 0.6
    assert value_at([], 1.0, "R@1") is None
    assert with_mean_recall({"image_to_text_R@1": 0.2, "text_to_image_R@1": 0.4})["R@1"] == pytest.approx(0.3)


def write_run(run: RunDir, log_every: int, lasted: list[float], curve: dict[int, float]) -> None:
    """A run whose steps lasted as given, of which each ``log_every``-th and the last were told."""
    run.create()
    config = override(preset_config("clip", "tiny"), ["data.train=x.csv", "optim.batch_size=10"])
    run.config.write_text(config.to_json())
    events = EventWriter(run.events)
    for step, seconds in enumerate(lasted, 1):
        if step % log_every == 0 or step == len(lasted):
            events.write(Metrics(step=step, values={"train/pairs_per_s": 10 / seconds}))
        if step in curve:
            ways = ("image_to_text", "text_to_image")
            events.write(Evaluated(step=step, values={f"val/student/{way}_R@1": curve[step] for way in ways}))
    events.close()


@pytest.mark.parametrize("log_every", [1, 3, 4, 20])
def test_time_includes_unlogged_steps(tmp_path: Path, log_every: int) -> None:
    """By hand: ten steps of 2 s, validated after the fifth and the last."""
    write_run(RunDir(tmp_path), log_every, [2.0] * 10, {5: 0.2, 10: 0.6})
    found = timing(RunDir(tmp_path))
    assert found["train_seconds"] == pytest.approx(20.0)
    assert found["step_seconds"] == pytest.approx(2.0)
    assert [(point["step"], point["seconds"]) for point in found["curve"]] == [(5, 10.0), (10, 20.0)]
    assert value_at(found["curve"], 15.0, "R@1") == pytest.approx(0.4)


def test_step_time_with_an_occasional_teacher_is_the_mean_of_its_cycle(tmp_path: Path) -> None:
    """By hand: 1 s, and 4 s in each third step that is taught; one step took an hour. (1 + 1 + 4) / 3 = 2."""
    run = RunDir(tmp_path)
    lasted = [4.0 if step % 3 == 0 else 1.0 for step in range(1, 13)]
    write_run(run, 1, [1.0, 3600.0, *lasted[2:]], {})
    config = override(preset_config("sd-clip", "tiny"), ["data.train=x.csv", "optim.batch_size=10"])
    run.config.write_text(config.to_json())
    assert config.teacher.every == 3
    assert timing(run)["step_seconds"] == pytest.approx(2.0)


def test_unlogged_steps_last_as_long_as_logged_ones(tmp_path: Path) -> None:
    """Told are 2 (1 s), 4 (3 s) and 5 (4 s); so 1 lasted 1 s, 3 lasted 2 s: 1, 2, 4, 7 and 11 s after each."""
    write_run(RunDir(tmp_path), 2, [9.0, 1.0, 9.0, 3.0, 4.0], {1: 0.1, 3: 0.3, 5: 0.5})
    found = timing(RunDir(tmp_path))
    assert found["train_seconds"] == pytest.approx(11.0)
    assert [point["seconds"] for point in found["curve"]] == pytest.approx([1.0, 4.0, 11.0])
