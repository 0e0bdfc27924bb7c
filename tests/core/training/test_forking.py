"""Continue, fork and fine-tune: what a new run takes from a checkpoint of another, and what it records of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.spec.config import ConfigError, override
from core.spec.run.events import Log, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.lineage import parent_text, started_from
from core.training.errors import TrainingError
from core.training.train import train
from tests.core.training.test_train import config_for, equal, losses, read, weights
from tests.core.training.test_train import data as data

SETTINGS = ("checkpoint.keep=9", "optim.epochs=2")


@pytest.fixture(scope="module")
def parent(data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run of 6 steps, with a checkpoint each 3."""
    run = RunDir(tmp_path_factory.mktemp("parent") / "parent")
    assert train(config_for(data, "sd-clip-every-step", *SETTINGS), run, quiet=True) == "done"
    return run


def started(run: RunDir) -> RunStarted:
    return next(event for event in read(run) if isinstance(event, RunStarted))


def warnings(run: RunDir) -> list[str]:
    return [event.message for event in read(run) if isinstance(event, Log)]


def test_a_continued_run_equals_its_parent_bit_for_bit(parent: RunDir, data: tuple[Path, Path], tmp_path: Path) -> None:
    config = started_from(config_for(data, "sd-clip-every-step", *SETTINGS), parent, "step-00000003", "continue")
    run = RunDir(tmp_path / "run")
    assert train(config, run, quiet=True) == "done"
    assert losses(run) == {step: values for step, values in losses(parent).items() if step > 3}
    assert equal(weights(run), weights(parent))
    assert started(run).parent == {"run": "parent", "folder": str(parent.path), "step": 3, "kind": "continue"}
    assert parent_text(started(run).parent) == "continues parent at step 3"
    assert warnings(run) == []


def test_a_fork_loads_matching_optimiser_state_and_reports_the_rest(
    parent: RunDir, data: tuple[Path, Path], tmp_path: Path
) -> None:
    config = started_from(config_for(data, "sd-clip-every-step", *SETTINGS), parent, "step-00000003", "fork")
    longer, other = RunDir(tmp_path / "longer"), RunDir(tmp_path / "other")
    train(override(config, ["optim.epochs=3", "optim.learning_rate=1e-5"]), longer, quiet=True)
    assert (started(longer).parent["kind"], min(losses(longer)), max(losses(longer))) == ("fork", 4, 9)
    assert warnings(longer) == []
    train(override(config, ["objectives.distill_prototypes.prototypes=16"]), other, quiet=True)
    assert min(losses(other)) == 4
    assert any("are not in the parent run and start untrained" in message for message in warnings(other))
    assert any(
        message.startswith("the optimiser of the parent run fits this config only in part")
        for message in warnings(other)
    )
    last = started_from(config_for(data, "sd-clip-every-step", *SETTINGS), parent, "step-00000006", "fork")
    with pytest.raises(TrainingError, match=r"is at step 6, but this run has only 6 steps; raise optim\.epochs"):
        train(last, RunDir(tmp_path / "over"), quiet=True)


def test_fine_tuning_loads_only_the_weights(parent: RunDir, data: tuple[Path, Path], tmp_path: Path) -> None:
    config = started_from(config_for(data, "clip", "optim.epochs=1"), parent, "step-00000003", "fine-tune")
    run = RunDir(tmp_path / "run")
    train(config, run, quiet=True)
    assert (started(run).parent["kind"], started(run).step, min(losses(run))) == ("fine-tune", 0, 1)


def test_only_a_run_has_a_training_state(data: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match=r"towers\.start: Only an earlier run has a state"):
        override(config_for(data), ["towers.start=state"])


def test_a_foreign_parent_is_shown_only_if_valid() -> None:
    for wrong in ({}, {"run": 3, "step": 1, "kind": "fork"}, {"run": "a", "step": "1", "kind": "fork"},
                  {"run": "a", "step": 1, "kind": "<b>"}):  # fmt: skip
        assert parent_text(wrong) == ""
    assert (
        parent_text({"run": "a\x1b[2J\n\u202eb", "step": 1, "kind": "fork"})
        == "fork of a\ufffd[2J\ufffd\ufffdb at step 1"
    )
