"""Fine-tuning from a former run: its initial weights teach, hold and are retained, as plain loops say."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from core.checkpoint.opening import open_network
from core.model.eval_mode import evaluating
from core.spec.config import ObjectivesConfig, RunConfig, override, retained_sets
from core.spec.presets import preset_config
from core.spec.run.events import CheckpointSaved, Evaluated, EventReader
from core.spec.run.folder import RunDir
from core.spec.run.model_names import locate
from core.teacher.stored import StoredTeacher
from core.training.train import train
from core.training.validation import best_score
from tests.core.images import write_pairs
from tests.core.training.test_train_step import opened

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, of which every third image has two more captions."""
    train_csv, _ = write_pairs(tmp_path_factory.mktemp("pairs"))
    rows = list(csv.reader(train_csv.read_text().splitlines()))
    more = [[name, f"{word} {title}"] for name, title in rows[1::3] for word in ("small", "a drawing of")]
    with train_csv.open("w", newline="") as file:
        csv.writer(file).writerows(rows + more)
    return train_csv


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to start from."""
    run = RunDir(tmp_path_factory.mktemp("base") / "run")
    settings = [f"data.train={data}", "optim.epochs=2", "optim.batch_size=12", "runtime.threads=1"]
    assert train(override(preset_config("clip", "tiny"), settings), run, quiet=True) == "done"
    return run.path


def tuning(data: Path, base: Path, *settings: str, preset: str = "sd-clip-adapt") -> RunConfig:
    common = [f"data.train={data}", f"towers.pretrained={base}", "optim.batch_size=12", "runtime.threads=1"]
    return override(preset_config(preset, "tiny"), [*common, "optim.learning_rate=0.01", *settings])


def test_stored_targets_come_from_the_initial_weights(data: Path, base: Path, tmp_path: Path) -> None:
    """Step after step, though the student moves, and for each of an image's captions."""
    initial = open_network(locate(str(base)), CPU)
    with opened(tuning(data, base, "teacher.targets=stored"), tmp_path / "run") as loop:
        assert isinstance(loop.teacher, StoredTeacher)
        assert loop.teacher.networks == ()
        drawn: set[tuple[int, ...]] = set()
        for batch in loop.parts.loader.batches(0, loop.total_steps):
            with torch.no_grad(), evaluating(initial):
                texts = initial.encode_texts(batch.texts)
            target = loop.teacher.targets(batch)
            assert torch.allclose(target.text, texts, atol=1e-5)
            with torch.no_grad():
                output = loop.network.forward_student(batch)
            wanted = torch.stack(
                [((output.clean.image - target.clean.image) ** 2).sum(1), ((output.text - texts) ** 2).sum(1)]
            )
            report = loop.train_step(batch)
            assert float(report["train/distill_features"]) == pytest.approx(float(wanted.mean()), rel=1e-3, abs=1e-6)
            drawn |= {tuple(one) for one in batch.texts.tolist()}
    assert len(drawn) > 36, "several captions of an image were drawn"


def test_stored_images_match_evaluation_preprocessing(data: Path, base: Path, tmp_path: Path) -> None:
    """The pass of an initial teacher that is shown whole images gives what is stored."""
    uncropped = ["views.clean.crop_min=1"]
    with (
        opened(tuning(data, base, *uncropped), tmp_path / "stored") as stored,
        opened(tuning(data, base, *uncropped, "teacher.targets=pass"), tmp_path / "passed") as passed,
    ):
        assert stored.teacher is not None
        assert passed.teacher is not None
        batch = next(stored.parts.loader.batches(0, 1))
        ours, theirs = stored.teacher.targets(batch), passed.teacher.targets(batch)
        assert torch.allclose(ours.text, theirs.text, atol=1e-5)
        assert float((ours.clean.image * theirs.clean.image).sum(1).min()) > 0.98  # another resizing
        assert torch.equal(ours.logit_scale, theirs.logit_scale)


def test_a_trajectory_is_averaged_with_a_beta_density(data: Path, base: Path, tmp_path: Path) -> None:
    b = 0.2
    settings = ("teacher.kind=ema", "teacher.momentum_schedule=beta", f"teacher.momentum_beta={b}")
    config = tuning(data, base, *settings, preset="clip")
    with opened(config, tmp_path / "run") as loop:
        name = "towers.clip.visual.proj"
        course = [loop.network.state_dict()[name].clone()]
        for batch in loop.parts.loader.batches(0, loop.total_steps):
            loop.train_step(batch)
            course.append(loop.network.state_dict()[name].clone())
        assert loop.teacher is not None
        found = loop.teacher.network.state_dict()[name]
    places = [(k + 0.5) / len(course) for k in range(len(course))]
    density = np.array([(x * (1 - x)) ** (b - 1) for x in places])
    wanted = sum(float(w) * one for w, one in zip(density / density.sum(), course, strict=True))
    assert torch.allclose(found, torch.as_tensor(wanted), atol=1e-6)
    assert not torch.allclose(course[0], course[-1], atol=1e-3)


def test_an_anchor_pulls_weights_back_at_its_rate(data: Path, base: Path, tmp_path: Path) -> None:
    """After one step the weights differ from those without an anchor by rate x strength of the way gone."""
    after = []
    for strength in (0.0, 50.0):
        with opened(tuning(data, base, f"optim.anchor={strength}", preset="clip"), tmp_path / f"{strength}") as loop:
            before = {name: value.clone() for name, value in loop.network.named_parameters()}
            loop.train_step(next(loop.parts.loader.batches(0, 1)))
            rate = float(loop.schedules.learning_rate[1])
            after.append({name: value.detach().clone() for name, value in loop.network.named_parameters()})
    for name, initial in before.items():
        wanted = after[0][name] - rate * 50.0 * (after[0][name] - initial)
        assert torch.allclose(after[1][name], wanted, atol=1e-6), name


def test_frozen_trunks_leave_projections_trainable(data: Path, base: Path, tmp_path: Path) -> None:
    with opened(tuning(data, base, "towers.freeze=trunks", preset="clip"), tmp_path / "run") as loop:
        before = {name: value.clone() for name, value in loop.network.named_parameters()}
        for batch in loop.parts.loader.batches(0, 2):
            loop.train_step(batch)
        moved = {name for name, value in loop.network.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {"towers.clip.visual.proj", "towers.clip.text_projection", "towers.clip.logit_scale"}


def test_retained_data_are_evaluated_before_and_during_training(data: Path, base: Path, tmp_path: Path) -> None:
    """And the best checkpoint is the one that gains most among those that keep enough."""
    val = data.parent / "val.csv"
    settings = [f"data.val={val}", f"data.retain=old={data}; {val}", "checkpoint.keep_retained=0.9"]
    run = RunDir(tmp_path / "run")
    config = tuning(data, base, *settings, "optim.epochs=4", "checkpoint.keep=9", preset="clip")
    assert train(config, run, quiet=True) == "done"
    events = EventReader(run.events).read_all()
    measured = {event.step: dict(event.values) for event in events if isinstance(event, Evaluated)}
    assert min(measured) == 0
    names = ("val/student", "retain/old/student", "retain/val/student")
    assert all(f"{name}/mean_recall" in values for values in measured.values() for name in names)
    first = measured.pop(0)

    def score(values: dict[str, float]) -> float:
        kept = min(values[f"{name}/mean_recall"] / first[f"{name}/mean_recall"] for name in names[1:])
        return values["val/student/mean_recall"] if kept >= 0.9 else kept - 0.9

    best = max(measured, key=lambda step: (score(measured[step]), -step))
    saved = [event.step for event in events if isinstance(event, CheckpointSaved) and event.best]
    assert saved[-1] == best


def test_retention_is_measured_without_validation_data(data: Path, base: Path, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    config = tuning(data, base, "data.retain=general", "optim.epochs=2", "checkpoint.keep=9", preset="clip")
    assert train(config, run, quiet=True) == "done"
    events = EventReader(run.events).read_all()
    measured = [event for event in events if isinstance(event, Evaluated)]
    assert [event.step for event in measured] == [0, 3, 6]
    assert all("retain/general/student/mean_recall" in event.values for event in measured)
    saved = [event for event in events if isinstance(event, CheckpointSaved) and event.best]
    assert saved[-1].step == 6, "with nothing else to decide, the last is the best"


def test_without_validation_data_a_forgetting_network_is_not_the_best() -> None:
    first, kept, lost = ({"retain/old/student/mean_recall": value} for value in (0.8, 0.79, 0.4))
    objectives = ObjectivesConfig.model_validate({"contrastive": {"weight": 1.0}})
    assert best_score(kept, objectives, 0.5, 0.95, first) == (0.5, "")
    assert best_score(lost, objectives, 1.0, 0.95, first) == (pytest.approx(0.5 - 0.95), "")
    assert best_score(lost, objectives, 1.0, 0.0, first) == (1.0, "")


def test_a_forgetting_network_scores_below_every_other() -> None:
    first = {"retain/old/student/mean_recall": 0.8}
    forgets = {"val/student/mean_recall": 0.9, "retain/old/student/mean_recall": 0.4}
    keeps = {"val/student/mean_recall": 0.3, "retain/old/student/mean_recall": 0.79}
    objectives = ObjectivesConfig.model_validate({"contrastive": {"weight": 1.0}})
    assert best_score(forgets, objectives, 1.0) == (0.9, "student")
    assert best_score(forgets, objectives, 1.0, 0.95, first)[0] == pytest.approx(0.5 - 0.95)
    assert best_score(keeps, objectives, 1.0, 0.95, first) == (0.3, "student")


def test_retained_sets_are_named_explicitly_or_after_their_files() -> None:
    assert retained_sets("") == {}
    assert retained_sets("a/val.csv; old = b/val.csv;c/val.csv") == {
        "val": "a/val.csv",
        "old": "b/val.csv",
        "val 2": "c/val.csv",
    }
    assert retained_sets("my set=a; my set=b") == {"my set": "a", "my set 2": "b"}
    assert retained_sets("/data/year=2024/val.csv; old=/data/x=1/val.csv") == {
        "val": "/data/year=2024/val.csv",
        "old": "/data/x=1/val.csv",
    }
    assert retained_sets("set=a; set=b; set 2=c") == {"set": "a", "set 2": "b", "set 2 2": "c"}
