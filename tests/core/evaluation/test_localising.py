"""The task localisation: canvases and their patches, a model that knows colours, and what bad input gets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from core.checkpoint.opening import Model, open_model
from core.data.dataset import PairDataset
from core.evaluation import localising
from core.evaluation.evaluate import Request, evaluate
from core.evaluation.localising import make_canvases, patch_owners
from core.evaluation.report import Report
from core.inference.labelled import open_images
from core.metrics.inputs import EvaluationError
from core.model.errors import ModelError
from tests.core.labelled import write

COLOURS = {"red": (220, 30, 30), "green": (20, 160, 60), "blue": (30, 60, 220), "yellow": (240, 230, 40)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """40 noisy images of four colours; the last row is no image."""
    folder, draw = tmp_path_factory.mktemp("localising"), np.random.default_rng(0)
    rows = [["filepath", "title"]]
    for i in range(40):
        name, colour = list(COLOURS.items())[i % 4]
        pixels = (np.array(colour) + draw.integers(-30, 31, (32, 32, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append([f"{i}.png", f"a {name} image"])
    (folder / "none.png").write_text("no image")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        yield str(write(folder / "data.csv", [*rows, ["none.png", "a white image"]]))


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    return open_model("open_clip:sd-tiny")


def quiet(*_: object) -> None:
    pass


def measure(model: Model, source: str) -> Report:
    return evaluate(model, Request(data=source, task="localisation"), quiet, quiet)


def test_each_image_is_in_one_canvas_with_three_other_captions(model: Model, source: str) -> None:
    dataset = open_images(model, source, quiet, quiet)
    canvases = make_canvases(dataset, 32)
    assert [canvas.rows for canvas in canvases] == [canvas.rows for canvas in make_canvases(dataset, 32)]
    used = [row for canvas in canvases for row in canvas.rows]
    assert len(used) == len(set(used)) >= 36
    assert 40 not in used
    assert all(len({dataset.captions_of(row)[0] for row in canvas.rows}) == 4 for canvas in canvases)
    pixels = canvases[0].pixels
    assert pixels.shape == (3, 32, 32)
    for number, row in enumerate(canvases[0].rows):
        top, left = 16 * (number // 2), 16 * (number % 2)
        part = pixels[:, top : top + 16, left : left + 16].float().mean(dim=(1, 2))
        assert part.numpy() == pytest.approx(dataset.image(row).float().mean(dim=(1, 2)).numpy(), abs=4)


def test_patches_on_a_border_and_blank_patches_are_left_out() -> None:
    canvas = torch.randint(0, 256, (3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    canvas[:, 16:, 16:] = 255
    assert patch_owners(canvas, 8).tolist() == [0, -1, 1, -1, -1, -1, 2, -1, -1]
    assert patch_owners(canvas[:, :16, :16], 8).tolist() == [0, 1, 2, 3]
    assert patch_owners(canvas[:, :16, :16], 5).view(3, 3).tolist() == [[0, -1, 1], [-1, -1, -1], [2, -1, 3]]


def test_a_model_that_knows_colours_finds_them(model: Model, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are their colours, and patches their mean colours; relevances stay those of random weights."""
    centre = torch.tensor(list(COLOURS.values())).float().mean(dim=0)

    def embed_texts(_network: object, texts: list[str], _runtime: object) -> torch.Tensor:
        named = torch.tensor([COLOURS[text.split()[1]] for text in texts]).float()
        return torch.nn.functional.normalize(named - centre, dim=1)

    def embed_patches(_work: object, canvas: torch.Tensor) -> torch.Tensor:
        patches = torch.nn.functional.avg_pool2d(canvas.float(), 8).flatten(1).T
        return torch.nn.functional.normalize(patches - centre, dim=1)

    monkeypatch.setattr(localising, "encode_texts", embed_texts)
    monkeypatch.setattr(localising, "_patch_vectors", embed_patches)
    report = measure(model, source)
    metrics = report.outcome.metrics
    assert metrics["pointing_accuracy"] == metrics["mean_iou"] == 1.0
    assert 0.0 < metrics["relevance_pointing_accuracy"] < 1.0
    assert any("chance is 25 %" in note for note in report.outcome.notes)
    assert any("none.png" in note for note in report.outcome.notes), report.outcome.notes


def test_random_weights_are_near_chance(model: Model, source: str) -> None:
    outcome = measure(model, source).outcome
    assert outcome.samples == len(outcome.per_query["mean_iou"].values)
    assert 0.05 < outcome.metrics["pointing_accuracy"] < 0.6
    assert outcome.metrics["mean_iou"] < 0.5


def test_bad_input_gets_a_sentence(model: Model, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(PairDataset, "captions_of", lambda *_: ("a red image",))
        with pytest.raises(EvaluationError, match="fewer than 4 readable images with different captions"):
            measure(model, source)
    with pytest.raises(ModelError, match="open_clip's own ViTs"):
        measure(open_model("open_clip:RN50"), source)
