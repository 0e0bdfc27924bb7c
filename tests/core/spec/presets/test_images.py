"""The claims of DINO, MaskCLIP and SILC; and recommendations that depend on the amount of data."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.data.batch import Batch
from core.data.dataset import open_dataset
from core.data.draws import uniforms
from core.data.loader import Loader
from core.data.views.making import CROP_ATTEMPTS, draw_crops
from core.model.network import Network
from core.model.towers.towers import resolve_architecture
from core.objectives.build import Objectives, build_network, build_objectives
from core.objectives.distill_prototypes import view_pairs
from core.spec.config import DataConfig, RunConfig, get_field, override
from core.spec.presets import PRESETS, preset_config
from core.spec.presets.recommended import momentum_for, prototypes_for, recommendations
from core.teacher.build import build_teacher
from core.training.schedules import build_optimizer, build_schedules, momenta
from tests.core.images import write_pairs


class Step:
    """A preset at its tiny size, for single training steps."""

    def __init__(self, name: str, folder: Path, *settings: str) -> None:
        self.config = override(preset_config(name, "tiny"), ["optim.batch_size=12", *settings])
        torch.manual_seed(0)
        model = copy.deepcopy(resolve_architecture("sd-tiny"))
        self.network: Network = build_network(self.config, model).train()
        self.teacher = build_teacher(self.config.teacher, self.network)
        self.objectives: Objectives = build_objectives(self.config, self.network)
        self.optimizer = build_optimizer(self.config.optim, self.network)
        data, _ = write_pairs(folder)
        towers = self.network.towers
        dataset = open_dataset(data, DataConfig(cache_mib=0), 32, towers.tokenize, pad_id=towers.pad_id)
        self.loader = Loader(dataset, self.config, 32, patch_side=towers.patch_side)

    def batch(self, number: int = 0) -> Batch:
        return next(self.loader.batches(number, number + 1))

    def losses(self, batch: Batch, progress: float = 1.0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        assert self.teacher is not None
        self.objectives.begin_step(self.network, build_schedules(self.config, 1000).at(round(1000 * progress)))
        target = self.teacher.targets(batch, self.objectives.teacher_head_outputs)
        output = self.objectives.head_outputs(self.network, batch, self.network.forward_student(batch))
        found, report = {}, {}
        for objective in self.objectives:
            found[objective.name], facts = objective(output, target)
            report |= facts
        return found, report

    def train(self, steps: int) -> dict[str, torch.Tensor]:
        assert self.teacher is not None
        report: dict[str, torch.Tensor] = {}
        for step in range(1, steps + 1):
            losses, report = self.losses(self.batch(step), step / steps)
            torch.stack(
                [getattr(self.config.objectives, name).weight * loss for name, loss in losses.items()]
            ).sum().backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.teacher.update(self.network, float(momenta(self.config.teacher, steps)[step]))
        return report


def test_dinos_teacher_sees_only_global_crops_and_never_teaches_a_crop_of_itself(tmp_path: Path) -> None:
    step = Step("dino", tmp_path)
    batch = step.batch()
    assert [(view.local, view.images.shape[-1]) for view in batch.student] == [(False, 32)] * 2 + [(True, 16)] * 2
    assert [view.local for view in batch.teacher] == [False, False]
    output, target = step.network.forward_student(batch), step.teacher.targets(batch)  # type: ignore[union-attr]
    pairs = view_pairs(output, target)
    assert len(pairs) == 2 * 4 - 2
    assert all(output.distilled[i].number != target.distilled[j].number for i, j in pairs)
    local, large = step.config.views.local, step.config.views.student
    assert local.crop_max <= large.crop_min
    shapes, draws = np.array([[80, 80]] * 500), uniforms(2 * CROP_ATTEMPTS + 2, 0, np.arange(500))
    areas = [
        draw_crops(shapes, (one.crop_min, one.crop_max), draws)[:, 2:].prod(axis=1) / 6400 for one in (local, large)
    ]
    assert areas[0].max() < 0.42
    assert areas[1].min() > 0.38


def test_dinos_prototypes_are_frozen_first_and_train_later(tmp_path: Path) -> None:
    step = Step("dino", tmp_path)
    head = step.network.prototypes
    assert head is not None
    before = head.prototypes.detach().clone()
    share = step.config.objectives.distill_prototypes.freeze_last
    for progress, rests in ((share / 2, True), (share * 2, False)):
        losses, _ = step.losses(step.batch(), progress)
        losses["distill_prototypes"].backward()
        step.optimizer.step()
        step.optimizer.zero_grad(set_to_none=True)
        assert torch.equal(head.prototypes, before) == rests


def test_dinos_centring_and_temperature_prevent_both_collapses(tmp_path: Path) -> None:
    step = Step("dino", tmp_path)
    report = step.train(20)
    batch, single = (report[f"diag/{of}_entropy_over_ln_prototypes"].item() for of in ("batch", "teacher"))
    assert batch > 0.3  # the batch as a whole uses many prototypes
    assert 0.2 < single < 0.95  # a single image neither one alone nor all alike
    assert single < batch


def test_maskclips_student_does_not_see_masked_patches_and_clip_sees_all(tmp_path: Path) -> None:
    step = Step("maskclip", tmp_path)
    batch = step.batch()
    assert batch.clean.mask is None
    (view,) = batch.student
    assert view.mask is not None
    assert (view.mask.sum(dim=1) == 12).all()  # three quarters of 16
    assert batch.teacher[0].mask is None
    assert torch.equal(batch.teacher[0].images, view.images)
    hidden = view.mask.view(-1, 1, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    other = copy.copy(batch)
    object.__setattr__(
        other, "student", (type(view)(torch.where(hidden, 99, view.images), None, view.mask, view.number),)
    )
    with torch.no_grad():
        ours, same = step.network.forward_student(batch), step.network.forward_student(other)
    torch.testing.assert_close(ours.distilled[0].image, same.distilled[0].image)
    losses, report = step.losses(batch)
    assert losses.keys() == {"contrastive", "masked_patches"}
    assert report["diag/hidden_patches"].item() == 12 * 12
    assert step.config.objectives.masked_patches.weight == 0.05


def test_silcs_local_view_predicts_the_teachers_global_view(tmp_path: Path) -> None:
    step = Step("silc", tmp_path)
    batch = step.batch()
    assert batch.teacher == ()  # it sees the clean, whole view
    assert all(view.local and view.images.shape[-1] == 16 for view in batch.student)
    output = step.network.forward_student(batch)
    losses, _ = step.losses(batch)
    losses["distill_prototypes"].backward()
    assert step.network.towers.clip.visual.conv1.weight.grad is not None
    assert len(output.distilled) == step.config.views.local.count
    assert output.clean.number != output.distilled[0].number


# Advice


@pytest.mark.parametrize(
    ("pairs", "prototypes"),
    [(20_000, 1024), (20_001, 2048), (10**7, 65536)],
)
def test_the_number_of_prototypes_grows_with_the_data(pairs: int, prototypes: int) -> None:
    assert prototypes_for(pairs) == prototypes


def test_advice_names_the_field_and_disappears_once_followed() -> None:
    config = preset_config("dino", "base")
    found = {advice.field: advice for advice in recommendations(config, 15_000)}
    assert found["objectives.distill_prototypes.prototypes"].value == 1024
    assert "15,000" in found["objectives.distill_prototypes.prototypes"].reason
    assert found["teacher.momentum"].value == 0.99
    followed = override(config, [f"{item.field}={item.value}" for item in recommendations(config, 15_000)])
    assert recommendations(followed, 15_000) == []
    assert get_field(followed, "teacher.momentum") == 0.99
    assert recommendations(preset_config("clip"), 15_000) == []


def test_no_demo_preset_gets_momentum_advice_on_the_demo_data() -> None:
    advised = {name: recommendations(preset_config(name, "demo"), 2555) for name in PRESETS}
    assert {name: advice for name, advice in advised.items() if advice} == {}


@given(st.integers(1, 10**8), st.integers(2, 65536), st.floats(0.1, 100))
def test_the_teacher_averages_at_most_a_tenth_of_the_training(pairs: int, batch: int, epochs: float) -> None:
    raw = RunConfig.model_validate({"optim": {"batch_size": batch, "epochs": epochs}})
    momentum = momentum_for(raw, pairs)
    steps = int(epochs * (pairs // batch))
    assert 0.5 <= momentum <= 0.999
    assert momentum == 0.5 or 1 / (1 - momentum) <= steps / 10 * (1 + 1e-9)
    if pairs > 20_000 and batch < 4096 and steps >= 10_000:
        assert momentum == 0.999  # as COSMOS with 1,024 pairs a batch
