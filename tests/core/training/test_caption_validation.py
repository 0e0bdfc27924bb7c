"""Captions in validation: the loss against open_clip's own forward, a sample to look at, and in a run's events."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from core.checkpoint.opening import open_model
from core.data.dataset import open_dataset
from core.data.loader import evaluation_batches, evaluation_texts
from core.inference.generation.captions import generate
from core.inference.generation.coca import CocaDecoder
from core.inference.generation.fusion import FusionDecoder, caption_decoder
from core.model.runtime import Runtime
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network
from core.spec.config import override
from core.spec.generation import GenerationError, GenerationSettings
from core.spec.presets import preset_config
from core.spec.run.events import Evaluated, EventReader, Sample
from core.spec.run.folder import RunDir
from core.training import caption_validation
from core.training.caption_validation import caption_losses, caption_sample
from core.training.train import train
from tests.core.images import write_pairs
from tests.core.objectives.little_pairs import little
from tests.core.variants import variant_config

CPU = Runtime(torch.device("cpu"), "fp32")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


def test_the_loss_matches_open_clip_over_all_validation_words(
    data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = preset_config("coca", "tiny")
    torch.manual_seed(0)
    network = build_network(config, resolve_architecture("sd-coca-tiny"))
    towers = network.towers
    dataset = open_dataset(str(data[1]), config.data, 32, towers.tokenize, pad_id=towers.pad_id)
    seen: list[tuple[str, int, int]] = []
    values = caption_losses({"student": network}, dataset, CPU, "val", 5, lambda *what: seen.append(what))
    assert network.training
    network.eval()
    total, words = 0.0, 0
    with torch.no_grad():
        for rows, source_images in evaluation_batches(dataset, 32, 12):
            tokens, owner = evaluation_texts(dataset, rows)
            said = towers.clip(towers.normalise(source_images)[owner], tokens)
            labels = said["labels"]
            total += float(F.cross_entropy(said["logits"].permute(0, 2, 1), labels, ignore_index=0, reduction="sum"))
            words += int((labels != 0).sum())
    assert values == {"val/student/caption_loss": pytest.approx(total / words, abs=1e-5)}
    assert seen == [("validating captions", done, 12) for done in (5, 10, 12)]
    monkeypatch.setattr(caption_validation, "_CHUNK_CAPTIONS", 2)
    network.train()
    assert caption_losses({"student": network}, dataset, CPU, "val", 5, lambda *_: None) == pytest.approx(
        values, abs=1e-5
    )


def test_a_run_reports_caption_scores_and_its_checkpoint_reproduces_them(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = [f"data.train={data[0]}", f"data.val={data[1]}", "optim.epochs=1", "optim.batch_size=18"]
    run = RunDir(tmp_path / "run")
    train(override(variant_config("sd-coca-every-step"), [*settings, "runtime.threads=1"]), run)
    events = EventReader(run.events).read_all()
    losses = [event.values for event in events if isinstance(event, Evaluated)][-1]
    assert {"val/student/caption_loss", "val/teacher/caption_loss"} <= set(losses)
    (sample,) = [event.content for event in events if isinstance(event, Sample) and event.what == "captions"]
    assert set(sample) == {"student", "teacher"}
    for one in sample["student"]:
        assert Path(one["image"]).is_file()
        assert one["truth"].startswith("a ")
        assert isinstance(one["caption"], str)
    model = open_model(str(run.path))
    source_images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    images = model.network.towers.normalise(source_images)
    captions = generate(
        model.network.towers.clip, images, GenerationSettings(search="beam", max_tokens=6, min_tokens=1)
    )
    assert [len(one) for one in captions] == [1, 1]


@pytest.mark.parametrize("kind", ["cross-attention", "queries"])
def test_a_fusion_captions_by_its_own_next_word_probabilities(kind: str) -> None:
    fusion = [f"fusion.kind={kind}", "fusion.width=32", "fusion.heads=2", "fusion.layers=2"]
    config = override(
        preset_config("clip", "tiny"),
        [*fusion, "objectives.captioning.weight=1", "objectives.captioning.through=fusion"],
    )
    torch.manual_seed(1)
    network = build_network(config, resolve_architecture("sd-tiny")).eval()
    source_images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    images = network.towers.normalise(source_images)
    decoder = caption_decoder(network)
    assert isinstance(decoder, FusionDecoder)
    settings = GenerationSettings(search="greedy", max_tokens=5, min_tokens=0)
    captions = generate(decoder, images, settings)
    with torch.no_grad():
        for b in range(3):  # one image, one prefix at a time, through the network's own parts
            image, prefix = network.towers.encode_image(images[b : b + 1]), [49406]
            while len(prefix) < 6:
                text = network.towers.encode_text(torch.tensor([[*prefix, 49407]]), all_tokens=True)
                words = network.join(image, text, every_word=True, causal=True).words
                assert words is not None
                prefix.append(int(network.heads["captioning"](words[0, len(prefix) - 1]).argmax()))
                if prefix[-1] in (0, 49407):
                    break
            said = [word for word in prefix[1:] if word not in (0, 49407)]
            assert list(captions[b][0].tokens) == said
    beams = generate(decoder, images, GenerationSettings(search="beam", beams=3, max_tokens=4, min_tokens=0))
    assert all(one[0].score >= other.score - 1e-6 for one in beams for other in one)


def test_each_network_gets_its_own_decoder() -> None:
    coca = build_network(preset_config("coca", "tiny"), little("sd-coca-tiny"))
    assert isinstance(caption_decoder(coca), CocaDecoder)
    clip = build_network(preset_config("clip", "tiny"), little("sd-tiny"))
    with pytest.raises(GenerationError):
        caption_decoder(clip)


def test_samples_are_evenly_spaced_and_decoded(data: tuple[Path, Path]) -> None:
    config = preset_config("coca", "tiny")
    torch.manual_seed(0)
    network = build_network(config, resolve_architecture("sd-coca-tiny"))
    towers = network.towers
    dataset = open_dataset(str(data[1]), config.data, 32, towers.tokenize, pad_id=towers.pad_id)
    (sample,) = caption_sample({"student": network}, dataset, CPU).values()
    rows = [place * len(dataset) // 8 for place in range(8)]
    assert [one["image"] for one in sample] == [str(dataset.path(row)) for row in rows]
    assert [one["truth"] for one in sample] == [dataset.captions_of(row)[0] for row in rows]
