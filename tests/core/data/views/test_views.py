"""Views: what is drawn depends on the keys alone, and lies where the config says."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from core.data.draws import seed_of, uniforms
from core.data.parts import draw_mix
from core.data.views.distortion import GREY
from core.data.views.making import CROP_ATTEMPTS, centre_view, draw_crops
from core.data.views.randaugment import OPERATIONS, randaugment
from core.data.views.recipe import ViewRecipe
from tests.core.data.samples import make_view

STRONG = ViewRecipe(crop_min=0.3, flip=True, randaugment_ops=2, erase=0.5)


def noise(count: int, height: int = 40, width: int = 50, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator))


def view(config: ViewRecipe, images: list[Tensor], rows: Sequence[int] | None = None, **keys: int) -> Tensor:
    """A view of side 32; ``keys`` are the seed, the epoch and the number of the view, 0 if not given."""
    which = np.array(range(len(images)) if rows is None else rows)
    return make_view(images, config, 32, keys.get("seed", 0), keys.get("epoch", 0), which, keys.get("number", 0))


# Draws


def test_uniforms_are_uniform_and_independent() -> None:
    draws = uniforms(50, 1, np.arange(4000), 3)
    assert draws.shape == (4000, 50)
    assert draws.min() >= 0
    assert draws.max() < 1
    counts, _ = np.histogram(draws, 20, (0, 1))
    assert np.abs(counts / counts.mean() - 1).max() < 0.05
    correlation = np.corrcoef(draws.T)  # between places
    assert np.abs(correlation - np.eye(50)).max() < 0.08
    neighbours = np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]
    assert abs(neighbours) < 0.08


def test_draws_depend_on_each_key_and_not_on_the_batch() -> None:
    base = uniforms(4, 1, 2, np.array([5, 6, 7]), 3)
    assert np.array_equal(base[1:2], uniforms(4, 1, 2, 6, 3))
    others = [uniforms(4, *keys) for keys in ((0, 2, 6, 3), (1, 3, 6, 3), (1, 2, 7, 3), (1, 2, 6, 4), (2, 1, 6, 3))]
    assert all(not np.array_equal(base[1:2], other) for other in others)
    assert len({seed_of(a, b) for a in range(30) for b in range(30)}) == 900


# Crops


@given(st.integers(1, 90), st.integers(1, 90), st.floats(0.05, 1.0), st.floats(0.05, 1.0), st.integers(0, 99))
@settings(deadline=None)
def test_crops_lie_within_the_image(height: int, width: int, a: float, b: float, seed: int) -> None:
    shapes = np.array([[height, width]] * 5)
    boxes = draw_crops(shapes, (min(a, b), max(a, b)), uniforms(2 * CROP_ATTEMPTS + 2, seed, np.arange(5)))
    top, left, crop_height, crop_width = boxes.T
    assert (boxes >= 0).all()
    assert (crop_height >= 1).all()
    assert (crop_width >= 1).all()
    assert (top + crop_height <= height).all()
    assert (left + crop_width <= width).all()


def test_crops_have_the_configured_share_and_ratio() -> None:
    shapes = np.array([[300, 400]] * 3000)
    boxes = draw_crops(shapes, (0.2, 0.5), uniforms(2 * CROP_ATTEMPTS + 2, 0, np.arange(3000)))
    share = boxes[:, 2] * boxes[:, 3] / (300 * 400)
    ratio = boxes[:, 3] / boxes[:, 2]
    assert share.min() > 0.195
    assert share.max() < 0.505
    assert abs(share.mean() - 0.35) < 0.01
    assert ratio.min() > 0.74
    assert ratio.max() < 1.35
    assert abs(np.log(ratio).mean()) < 0.01
    assert boxes[:, 0].min() == 0
    assert (boxes[:, 0] + boxes[:, 2]).max() == 300


def test_a_panorama_gives_its_middle() -> None:
    boxes = draw_crops(np.array([[10, 1000]]), (1.0, 1.0), uniforms(2 * CROP_ATTEMPTS + 2, 0, 0))
    assert boxes.tolist() == [[0, 494, 10, 13]]


# Views


@pytest.mark.parametrize("config", [ViewRecipe(), STRONG])
def test_a_view_depends_only_on_seed_epoch_row_and_index(config: ViewRecipe) -> None:
    images = [*noise(3, 40, 50), *noise(2, 32, 32), *noise(1, 33, 264)]
    copies = [image.clone() for image in images]
    before = torch.get_rng_state()
    base = view(config, images)
    assert base.shape == (6, 3, 32, 32)
    assert base.dtype == torch.uint8
    view(STRONG, noise(3, seed=5), seed=9)
    assert torch.equal(base, view(config, images))
    assert torch.equal(base[[4, 1]], view(config, [images[4], images[1]], [4, 1]))
    for other in (view(config, images, seed=1), view(config, images, epoch=1), view(config, images, number=1)):
        assert not torch.equal(base, other)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(image, copy) for image, copy in zip(images, copies, strict=True)), "the source stays"


def test_half_of_the_views_are_flipped() -> None:
    images = noise(200, 32, 32)
    whole = ViewRecipe(crop_min=1.0, flip=True)
    views = view(whole, images)
    plain = view(ViewRecipe(crop_min=1.0), images)
    mirrored = [torch.equal(one, other.flip(-1)) for one, other in zip(views, plain, strict=True)]
    same = [torch.equal(one, other) for one, other in zip(views, plain, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 70 < sum(mirrored) < 130


@pytest.mark.parametrize("share", [0.15, 0.6])
def test_erasing_covers_a_rectangle_of_allowed_area(share: float) -> None:
    images = [torch.zeros(3, 32, 32, dtype=torch.uint8)] * 100
    erased = (view(ViewRecipe(erase=share), images) == GREY).all(1)  # (100, 32, 32)
    area = erased.flatten(1).float().mean(1)
    assert int((area > 0).sum()) == pytest.approx(100 * share, abs=15)
    assert float(area.max()) < 0.37
    for one in erased[area > 0]:
        rows, columns = one.any(1), one.any(0)
        assert int(one.sum()) == int(rows.sum() * columns.sum())


def test_operations_match_torchvisions_one_image_at_a_time() -> None:
    images = torch.stack(noise(len(OPERATIONS) * 2, 24, 24))
    draws = np.array([[[(i + 0.5) / len(OPERATIONS), sign]] for i in range(len(OPERATIONS)) for sign in (0.2, 0.7)])
    result = randaugment(images, draws, 9)
    m = 9 / 30
    assert torch.equal(result[0], images[0])  # identity
    checks = {
        "brightness": lambda image, sign: F.adjust_brightness(image, 1 + 0.9 * m * sign),
        "contrast": lambda image, sign: F.adjust_contrast(image, 1 + 0.9 * m * sign),
        "color": lambda image, sign: F.adjust_saturation(image, 1 + 0.9 * m * sign),
        "posterize": lambda image, sign: F.posterize(image, 7),
        "solarize": lambda image, sign: F.solarize(image, 255 * (1 - m)),
        "autocontrast": lambda image, sign: F.autocontrast(image),
        "equalize": lambda image, sign: F.equalize(image),
    }
    for name, check in checks.items():
        at = 2 * OPERATIONS.index(name)
        for k, sign in ((0, 1), (1, -1)):
            assert (result[at + k].int() - check(images[at + k], sign).int()).abs().max() <= 1, name
    right = 2 * OPERATIONS.index("translate_x")
    shift = round(150 / 331 * m * 24)
    assert torch.equal(result[right][:, :, shift:], images[right][:, :, :-shift])
    assert (result[right][:, :, :shift] == 128).all()


def _only(name: str, images: Tensor, sign: float) -> Tensor:
    draw = ((OPERATIONS.index(name) + 0.5) / len(OPERATIONS), 0.2 if sign > 0 else 0.7)
    return randaugment(images, np.array([[draw]] * len(images)), 9)


@pytest.mark.parametrize("side", [2, 7, 24])
def test_gpu_operations_match_torchvision_bit_for_bit(side: int) -> None:
    images, m = torch.stack(noise(5, side, side)), 9 / 30
    bilinear = {"interpolation": InterpolationMode.BILINEAR, "fill": [128.0] * 3, "scale": 1.0}
    for sign in (1.0, -1.0):
        sheared = math.degrees(math.atan(0.3 * m * sign))
        shift = round(150 / 331 * m * sign * side)
        moves = {
            "shear_x": {"angle": 0.0, "translate": [0, 0], "shear": [sheared, 0.0]},
            "shear_y": {"angle": 0.0, "translate": [0, 0], "shear": [0.0, sheared]},
            "translate_x": {"angle": 0.0, "translate": [shift, 0], "shear": [0.0, 0.0]},
            "translate_y": {"angle": 0.0, "translate": [0, shift], "shear": [0.0, 0.0]},
            "rotate": {"angle": 30.0 * m * sign, "translate": [0, 0], "shear": [0.0, 0.0]},
        }
        for name, move in moves.items():
            assert torch.equal(_only(name, images, sign), F.affine(images, **move, **bilinear)), name
        sharper = F.adjust_sharpness(images, 1 + 0.9 * m * sign)
        assert torch.equal(_only("sharpness", images, sign), sharper)


def test_centre_view_is_the_middle_square() -> None:
    image = torch.zeros(3, 32, 96, dtype=torch.uint8)
    image[:, :, 32:64] = 200
    assert (centre_view(image, 32) == 200).all()
    assert centre_view(image, 20).shape == (3, 20, 20)
    assert (centre_view(image.permute(0, 2, 1), 40) == 200).all()


# Interpolation


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_an_interpolation_keeps_at_least_half_and_pastes_its_share(kind: str) -> None:
    config, images = ViewRecipe(mix=kind), torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    assert draw_mix(ViewRecipe(), np.random.default_rng(0), 8, 32) is None
    for seed in range(100):
        mix, again = (draw_mix(config, np.random.default_rng(seed), 2, 32) for _ in range(2))
        assert mix is not None
        assert again is not None
        assert 0.5 <= mix.share <= 1.0
        assert sorted(mix.partner.tolist()) == [0, 1]
        assert (mix.partner.tolist(), mix.share, mix.box) == (again.partner.tolist(), again.share, again.box)
        if mix.partner.tolist() == [1, 0]:
            assert abs(float(mix.apply(images)[0].mean()) - (1 - mix.share)) < 1e-6


def test_either_chooses_one_with_equal_probability() -> None:
    config = ViewRecipe(mix="either")
    mixes = [draw_mix(config, np.random.default_rng(seed), 8, 32) for seed in range(400)]
    boxes = [mix.box for mix in mixes if mix is not None]
    assert len(boxes) == 400
    assert 160 < sum(box is None for box in boxes) < 240
