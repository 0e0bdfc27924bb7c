"""Masks hide as many patches as they say, in blocks or singly, by their keys alone; every kind of view is delivered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.data.dataset import PairDataset, open_dataset
from core.data.loader import Loader
from core.data.views.making import view_side
from core.data.views.masks import draw_masks, draw_visible
from core.data.views.recipe import ViewRecipe
from core.spec.config import DataConfig, RunConfig, problems
from core.spec.presets import preset_config
from tests.core.data.samples import make_view, tokenize, write_pairs
from tests.core.variants import variant_config


def opened(path: Path) -> PairDataset:
    return open_dataset(path, DataConfig(cache_mib=0), 32, tokenize)


def masks(config: ViewRecipe, side: int = 14, rows: Any = 40, seed: int = 0, epoch: int = 0, view: int = 2) -> Any:
    found = draw_masks(config, side, seed, epoch, np.arange(rows) if isinstance(rows, int) else np.array(rows), view)
    assert found is not None
    return found


@given(st.sampled_from(["blocks", "random"]), st.integers(2, 16), st.floats(0, 1), st.integers(0, 999))
def test_a_masked_view_hides_the_configured_share(kind: Any, side: int, share: float, seed: int) -> None:
    config = ViewRecipe(mask=1.0, mask_share=share, mask_kind=kind)
    hidden = masks(config, side, 3, seed).sum(dim=1)
    P = side * side
    assert (hidden == max(1, min(P - 1, round(share * P)))).all()


def test_masking_and_colour_augmentation_are_independent() -> None:
    """Each has draws of its own: of a thousand views half are masked, and half of either kind are grey."""
    config = ViewRecipe(crop_min=1.0, flip=False, mask=0.5, greyscale=0.5)
    rows, image = np.arange(1000), torch.tensor([200, 100, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 4)
    grey = make_view([image] * 1000, config, 4, 0, 0, rows, 2).float().std(dim=1).amax(dim=(1, 2)) < 2
    masked = masks(config, 4, 1000).any(dim=1)
    for one in (masked, ~masked):
        assert 400 < one.sum() < 600
        assert 0.4 < grey[one].float().mean() < 0.6


def test_kept_patches_have_the_requested_number_and_depend_only_on_their_keys() -> None:
    def kept(share: float, rows: Any, **keys: int) -> Any:
        found = draw_visible(ViewRecipe(keep=share), 6, keys.get("seed", 0), keys.get("epoch", 0), np.array(rows), 0)
        assert found is not None
        return found

    for share, count in ((0.5, 18), (0.001, 1), (0.97, 35)):
        drawn = kept(share, range(300))
        assert drawn.shape == (300, count)
        assert all(len(set(row)) == count for row in drawn.tolist())
        assert set(drawn.flatten().tolist()) == set(range(36))
    base = kept(0.5, range(40))
    assert torch.equal(base[[7, 3]], kept(0.5, [7, 3]))
    assert not torch.equal(base, kept(0.5, range(40), seed=1))
    assert not torch.equal(base, kept(0.5, range(40), epoch=1))
    assert draw_visible(ViewRecipe(), 6, 0, 0, 0, 0) is None


def test_masks_depend_only_on_their_keys_and_leave_some_views_unmasked() -> None:
    config = ViewRecipe(mask=1.0)
    base = masks(config)
    assert torch.equal(base[[7, 3]], masks(config, rows=[7, 3]))
    for other in (masks(config, seed=1), masks(config, epoch=1), masks(config, view=3)):
        assert not torch.equal(base, other)
    share = (masks(ViewRecipe(mask=0.5), rows=400).sum(dim=1) > 0).float().mean()
    assert 0.4 < float(share) < 0.6
    assert draw_masks(ViewRecipe(), 4, 0, 0, np.arange(3), 0) is None


def test_blocks_are_more_contiguous_than_single_patches() -> None:
    def neighbours(kind: Any) -> float:
        """How many hidden patches have a hidden one to their right."""
        grid = masks(ViewRecipe(mask=1.0, mask_kind=kind), rows=100).view(-1, 14, 14)
        return float((grid[:, :, :-1] & grid[:, :, 1:]).sum() / grid.sum())

    assert abs(neighbours("random") - 0.4 * 13 / 14) < 0.03  # by chance: the share that is hidden
    assert neighbours("blocks") > 0.6


@pytest.mark.parametrize(("share", "multiple", "side"), [(1.0, 7, 224), (0.43, 16, 96), (0.01, 16, 16), (0.43, 1, 96)])
def test_view_sizes_are_whole_patches(share: float, multiple: int, side: int) -> None:
    assert view_side(ViewRecipe(size=share), 224, multiple) == side


def run_config(**views: Any) -> RunConfig:
    raw = variant_config("sd-clip-every-step").model_dump()
    raw["views"].update(views)
    raw["optim"].update(batch_size=4)
    return RunConfig.model_validate(raw)


def test_local_and_shared_views_reach_the_batch(tmp_path: Path) -> None:
    dataset = opened(write_pairs(tmp_path, 8))
    config = run_config(
        student={"count": 2, "mix": "cutmix", "mask": 1.0},
        local={"count": 3, "size": 0.5, "crop_min": 0.05, "crop_max": 0.2},
        shared=True,
    )
    batch = next(Loader(dataset, config, 32, patch_side=8).batches(0, 1))
    assert [tuple(view.images.shape[2:]) for view in batch.student] == [(32, 32)] * 2 + [(16, 16)] * 3
    assert [view.local for view in batch.student] == [False] * 2 + [True] * 3
    assert len({view.number for view in (batch.clean, *batch.student)}) == 6
    for ours, theirs in zip(batch.student, batch.teacher, strict=False):
        assert torch.equal(ours.images, theirs.images)
        assert ours.number == theirs.number
        assert ours.mix is not None
        assert ours.mask is not None
        assert ours.mask.shape == (4, 16)
        assert theirs.mix is None
        assert theirs.mask is None
    assert len(batch.teacher) == 2
    own = next(Loader(dataset, run_config(teacher={"count": 3}), 32).batches(0, 1))
    assert len({view.number for view in (own.clean, *own.student, *own.teacher)}) == 1 + 2 + 3
    assert not torch.equal(own.teacher[0].images, own.teacher[1].images)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"shared": False}, "views.shared"),
        ({"student": {"count": 1}}, "views.student.mask"),
        ({"student": {"count": 1, "mask": 1.0, "mix": "mixup"}}, "views.student.mix"),
        ({"local": {"count": 1, "crop_min": 0.5, "crop_max": 0.3}}, "views.local.crop_min"),
        ({"student": {"count": 0}}, "views.shared"),
    ],
)
def test_contradictory_views_are_reported(change: dict[str, Any], field: str) -> None:
    raw = preset_config("maskclip", "tiny").model_dump()
    assert problems(RunConfig.model_validate(raw)) == {}
    raw["views"].update(change)
    assert field in problems(RunConfig.model_validate(raw))
