"""Captions of trained runs: what a run learnt to say is said, student and teacher, with its step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from core.checkpoint.opening import Model, Subject, open_model
from core.inference.caption_stream import caption_images
from core.inference.captioning import CaptionModel, open_caption_model
from core.inference.images import find_images, read_image
from core.model.network import Network
from core.model.runtime import Runtime
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network
from core.objectives.captioning import next_words
from core.spec.config import DataConfig, override
from core.spec.generation import GenerationSettings
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.variants import variant_config


def quiet(*_: object) -> None:
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    folder = tmp_path_factory.mktemp("coca")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDGUI_CACHE_DIR", str(folder / "cache"))
        pairs, held_out = write_pairs(folder / "pairs")
        fields = [f"data.train={pairs}", f"data.val={held_out}", "optim.batch_size=12", "optim.epochs=2"]
        run = RunDir(folder / "run")
        train(override(variant_config("sd-coca-every-step"), fields), run, quiet=True)
    return run


def blip() -> CaptionModel:
    """A network whose language model is its fusion, with random weights."""
    torch.manual_seed(0)
    config = preset_config("blip", "tiny")
    network = build_network(config, resolve_architecture(config.towers.architecture)).eval()
    subject = Subject(model="blip", dataset="")
    return CaptionModel("blip", Model(network, Runtime(torch.device("cpu"), "fp32"), subject))


def check(model: CaptionModel, network: Network, through: Literal["decoder", "fusion"], folder: Path) -> None:
    """Greedy captions are a plain loop's over the objective's own next words, on the whole prefix."""
    found = find_images([str(folder)], quiet).inputs[:4]
    settings = GenerationSettings(search="greedy", max_tokens=6, min_tokens=0)
    made = {item.path: item.captions[0] for item in caption_images(model, found, settings, quiet, quiet)}
    for item in found:
        source_image = read_image(item, network.image_size, DataConfig()).image
        assert source_image is not None
        prefix, total = [49406], 0.0
        while len(prefix) <= 6:
            with torch.no_grad():
                image = network.towers.encode_image(network.towers.normalise(source_image[None]))
                tokens = torch.tensor([[*prefix, 49407]])
                text = network.towers.encode_text(tokens, all_tokens=True)
                logits = next_words(network, tokens, image, text, through).logits[-1]
            token = int(logits.argmax())
            total += float(logits.log_softmax(-1)[token])
            if token in (49407, 0):
                break
            prefix.append(token)
        assert made[item.path]["tokens"] == len(prefix) - 1
        assert made[item.path]["log_prob"] == pytest.approx(total, abs=2e-3)


@pytest.mark.parametrize("weights", ["student", "teacher"])
def test_a_run_captions_what_its_objective_finds_likeliest(run: RunDir, weights: str) -> None:
    model = open_caption_model(f"{run.path}@last", weights)
    about = model.provenance()
    assert (about["step"], about["weights"]) == (6, weights)
    check(model, open_model(f"{run.path}@last", weights).network.float(), "decoder", run.path.parent / "pairs")


def test_captions_through_a_fusion(run: RunDir) -> None:
    model = blip()
    check(model, model.network, "fusion", run.path.parent / "pairs")


@pytest.mark.parametrize(
    ("kind", "fields"), [("coca", {"search": "beam", "beams": 4}), ("blip", {"search": "sample", "top_k": 5})]
)
def test_every_search_with_any_batch(run: RunDir, kind: str, fields: dict[str, Any]) -> None:
    model = blip() if kind == "blip" else open_caption_model(str(run.path))
    found = find_images([str(run.path.parent / "pairs")], quiet).inputs[:5]
    settings = model.settings({**fields, "max_tokens": 6, "prompt": "a red"}, captions=2)
    together = {i.path: i.captions for i in caption_images(model, found, settings, quiet, quiet)}
    alone = {i.path: i.captions for i in caption_images(model, found, settings, quiet, quiet, batch=1)}
    assert {p: [c["text"] for c in cs] for p, cs in together.items()} == {
        p: [c["text"] for c in cs] for p, cs in alone.items()
    }
    assert all(caption["text"].startswith("a red") for captions in together.values() for caption in captions)
