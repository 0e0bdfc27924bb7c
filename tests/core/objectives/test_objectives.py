"""Each objective against a plain loop over pairs, over a grid of sizes, with and without interpolation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from core.model.outputs import Output
from core.objectives.build import build_objectives
from core.objectives.distill_prototypes import DistillPrototypes
from core.objectives.distill_similarity import DistillSimilarity
from core.spec.config import (
    DistillSimilarityConfig,
    override,
)
from core.spec.presets import preset_config
from tests.core.objectives.fake_outputs import (
    mix_of,
    output_of,
)
from tests.core.variants import variant_config

SIZES = [(2, 3), (5, 4)]
ON_FUSED = ["objectives.distill_prototypes.on=fused"]


def test_the_centre_is_fixed_in_eval_mode_and_saved(tmp_path: Path) -> None:
    settings = override(variant_config("sd-clip-every-step"), ON_FUSED)
    objectives = build_objectives(settings)
    student, teacher = output_of(4, 8, 0, prototypes=64), output_of(4, 8, 1, prototypes=64)
    last = list(objectives)[-1]
    assert isinstance(last, DistillPrototypes)
    last(student, teacher)
    moved = last.targets.centre.clone()
    assert moved.abs().sum() > 0
    objectives.eval()
    last(student, teacher)
    assert torch.equal(last.targets.centre, moved)
    save_file(objectives.state_dict(), tmp_path / "state.safetensors")
    fresh = build_objectives(settings)
    fresh.load_state_dict(load_file(tmp_path / "state.safetensors"))
    assert torch.equal(fresh.state_dict()["distill_prototypes.targets.centre"], moved)


def test_a_perfect_student_has_no_similarity_gradient() -> None:
    output = output_of(6, 8, 0)
    student = Output(output.text.requires_grad_(), output.logit_scale, output.clean, output.distilled)
    loss, _ = DistillSimilarity(DistillSimilarityConfig(weight=1.0))(student, output)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert output.text.grad is not None
    assert output.text.grad.abs().max() < 1e-6


@given(st.integers(2, 9), st.floats(0.5, 1.0), st.integers(0, 1000))
def test_blended_targets_remain_distributions(batch: int, share: float, seed: int) -> None:
    targets = torch.rand(batch, batch, generator=torch.Generator().manual_seed(seed)).softmax(-1)
    mix = mix_of(batch, share, seed)
    torch.testing.assert_close(mix.blend(targets).sum(-1), torch.ones(batch))
    torch.testing.assert_close(mix.blend(targets.T).T.sum(-1), torch.ones(batch))


def test_losses_are_float32_under_autocast_and_reports_are_detached_scalars() -> None:
    mixes = (None, mix_of(5, 0.7))
    student, teacher = output_of(5, 8, 0, mixes, prototypes=64), output_of(5, 8, 1, prototypes=64)
    leaves = [view.prototypes for view in student.distilled] + [view.image for view in student.distilled]
    leaves += [student.text, student.clean.image, student.logit_scale]
    for leaf in leaves:
        assert leaf is not None
        leaf.requires_grad_()
    settings = override(variant_config("sd-clip-every-step"), ON_FUSED)
    plain = {o.name: o(student, teacher)[0] for o in build_objectives(settings)}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for objective in build_objectives(settings):
            loss, report = objective(student, teacher)
            assert loss.dtype == torch.float32
            assert loss.requires_grad
            torch.testing.assert_close(loss, plain[objective.name])
            for name, value in report.items():
                assert name.startswith("diag/")
                assert value.shape == ()
                assert not value.requires_grad
            loss.backward()
    assert all(leaf.grad is not None for leaf in leaves if leaf is not None)


def test_weighted_objectives_are_built_in_order() -> None:
    assert [o.name for o in build_objectives(preset_config("clip", "tiny"))] == ["contrastive"]
    names = [o.name for o in build_objectives(variant_config("sd-clip-every-step"))]
    assert names == ["contrastive", "distill_similarity", "distill_prototypes"]


@pytest.mark.parametrize("name", ["distill_similarity", "distill_prototypes"])
def test_distillation_without_a_teacher_is_an_internal_error(name: str) -> None:
    objective = next(o for o in build_objectives(variant_config("sd-clip-every-step")) if o.name == name)
    with pytest.raises(ValueError, match=f"{name} needs the teacher's outputs"):
        objective(output_of(2, 3, 0, prototypes=64), None)
