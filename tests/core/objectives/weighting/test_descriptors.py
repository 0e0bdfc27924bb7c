"""Descriptors of images: colours and edges where they are, whatever the side."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from core.objectives.weighting.descriptors import (
    CELLS,
    COLOUR_LEVELS,
    DIRECTIONS,
    REDUCED_SIDE,
    TINY_SIDE,
    WIDTHS,
    describe,
    unit_parts,
)


def parts(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    tiny, colours, gradients = describe(image[None])[0].split(WIDTHS)
    return tiny.reshape(3, TINY_SIDE, TINY_SIDE), colours, gradients.reshape(DIRECTIONS, CELLS, CELLS)


@pytest.mark.parametrize("side", [20, REDUCED_SIDE, 48, 224])
def test_a_uniform_image_has_one_colour_and_no_edge(side: int) -> None:
    image = torch.tensor([255, 0, 128], dtype=torch.uint8)[:, None, None].expand(3, side, side)
    tiny, colours, gradients = parts(image)
    assert tiny.amin(dim=(1, 2)).tolist() == pytest.approx([1.0, 0.0, 128 / 255], abs=1e-6)
    assert tiny.amax(dim=(1, 2)).tolist() == pytest.approx([1.0, 0.0, 128 / 255], abs=1e-6)
    assert colours.nonzero().flatten().tolist() == [(COLOUR_LEVELS - 1) * COLOUR_LEVELS**2 + COLOUR_LEVELS // 2]
    assert float(colours.max()) == 1.0
    assert not gradients.any()


def test_colour_features_are_square_roots_of_shares() -> None:
    image = torch.zeros(3, REDUCED_SIDE, REDUCED_SIDE, dtype=torch.uint8)
    image[:, : REDUCED_SIDE // 4] = 255
    _, colours, _ = parts(image)
    assert float(colours[-1]) == pytest.approx(math.sqrt(0.25))
    assert float(colours[0]) == pytest.approx(math.sqrt(0.75))


@pytest.mark.parametrize(("turned", "direction"), [(False, 0), (True, DIRECTIONS // 2)])
def test_an_edge_falls_into_its_cell_and_direction(turned: bool, direction: int) -> None:
    image = torch.zeros(3, REDUCED_SIDE, REDUCED_SIDE, dtype=torch.uint8)
    image[:, :, REDUCED_SIDE // 2 + 2 :] = 255  # from dark to bright, in the middle of a column of cells
    image = image.mT if turned else image
    _, _, gradients = parts(image)
    where = gradients.mT if turned else gradients
    found = where.nonzero()
    assert set(found[:, 0].tolist()) == {direction}
    assert set(found[:, 2].tolist()) == {CELLS // 2}
    assert float(where[direction, 3, CELLS // 2]) == pytest.approx(math.sqrt(2 / 4))  # two of a cell's four columns
    assert torch.allclose(gradients, parts(255 - image)[2])  # from bright to dark is the same edge


def test_parts_are_weighted_equally_and_constant_features_ignored() -> None:
    images = torch.randint(0, 256, (9, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    described = describe(images)
    found = unit_parts(described)
    assert found.shape == (9, sum(WIDTHS))
    for part in found.split(WIDTHS, dim=1):
        assert part.norm(dim=1).tolist() == pytest.approx([1.0] * 9, abs=1e-5)
    torch.testing.assert_close(unit_parts(described + 3.0), found, atol=1e-4, rtol=0)
    assert not unit_parts(describe(images[:1])).any()  # of one image alone there is nothing to tell
