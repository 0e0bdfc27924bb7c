"""The time of a run's steps, from its events, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.spec.config import override
from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics
from core.spec.run.folder import RunDir
from core.studies.study.job import timing


def write_run(run: RunDir, log_every: int, lasted: list[float]) -> None:
    """A run whose steps lasted as given, of which each ``log_every``-th and the last were told."""
    run.create()
    config = override(preset_config("clip", "tiny"), ["data.train=x.csv", "optim.batch_size=10"])
    run.config.write_text(config.to_json())
    events = EventWriter(run.events)
    for step, seconds in enumerate(lasted, 1):
        if step % log_every == 0 or step == len(lasted):
            events.write(Metrics(step=step, values={"train/pairs_per_s": 10 / seconds}))
    events.close()


def test_step_time_with_an_occasional_teacher_is_the_mean_of_its_cycle(tmp_path: Path) -> None:
    """By hand: 1 s, and 4 s in each third step that is taught; one step took an hour. (1 + 1 + 4) / 3 = 2."""
    run = RunDir(tmp_path)
    lasted = [4.0 if step % 3 == 0 else 1.0 for step in range(1, 13)]
    write_run(run, 1, [1.0, 3600.0, *lasted[2:]])
    config = override(preset_config("sd-clip", "tiny"), ["data.train=x.csv", "optim.batch_size=10"])
    run.config.write_text(config.to_json())
    assert config.teacher.every == 3
    assert timing(run)["step_seconds"] == pytest.approx(2.0)


def test_unlogged_steps_last_as_long_as_logged_ones(tmp_path: Path) -> None:
    """Told are 2 (1 s), 4 (3 s) and 5 (4 s); so 1 lasted 1 s, 3 lasted 2 s: 1, 2, 4, 7 and 11 s after each."""
    write_run(RunDir(tmp_path), 2, [9.0, 1.0, 9.0, 3.0, 4.0])
    found = timing(RunDir(tmp_path))
    assert found["train_seconds"] == pytest.approx(11.0)
