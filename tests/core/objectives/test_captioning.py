"""Captions: the shift by hand, the loss against open_clip's, trimmed batches, soft words, a model that learns."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from open_clip.loss import CoCaLoss
from torch import Tensor

from core.data.batch import Batch, View
from core.inference.generation.caption import SpecialTokens
from core.inference.generation.captions import generate
from core.model.errors import ModelError
from core.model.network import Network
from core.model.outputs import Output, ViewOutput
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network, build_objectives
from core.objectives.captioning import Captioning, DistillCaptions
from core.objectives.parts.words import WordLogits, next_word_positions
from core.spec.config import CaptioningConfig, DistillCaptionsConfig, RunConfig, override
from core.spec.generation import GenerationSettings
from core.spec.presets import preset_config
from tests.core.objectives.little_pairs import END, PAD, START, flat_pairs, little
from tests.core.variants import variant_config

CAPTIONS = ["a cat", "two dogs sleep on the mat", "tree", "woman firefighter"]
UNPOOLED: dict[str, Any] = {  # a CoCa whose decoder reads the patches themselves
    "embed_dim": 64,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    "multimodal_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    "custom_text": True,
}


def built(config: RunConfig, architecture: dict[str, Any] | None = None) -> Network:
    torch.manual_seed(5)
    return build_network(config, architecture or resolve_architecture(config.towers.architecture))


def batch(network: Network, length: int = 16) -> Batch:
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Batch(torch.arange(4), network.towers.tokenize(CAPTIONS)[:, :length], View(images))


def loss_of(network: Network, config: RunConfig, pairs: Batch, name: str = "captioning") -> Tensor:
    objectives = build_objectives(config)
    output = objectives.head_outputs(network, pairs, network.forward_student(pairs))
    (objective,) = (one for one in objectives if one.name == name)
    return objective(output, None)[0]


def test_each_position_predicts_the_next_word() -> None:
    #                      start a  red end pad   start dog end pad pad
    tokens = torch.tensor([[7, 3, 4, 8, 0], [7, 5, 8, 0, 0]])
    words = next_word_positions(tokens, pad_id=0)
    assert words.labels.tolist() == [3, 4, 8, 5, 8]
    assert words.pairs.tolist() == [0, 0, 0, 1, 1]
    states = torch.arange(8.0).view(2, 4, 1)
    assert words.select(states)[:, 0].tolist() == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("architecture", [None, UNPOOLED])
def test_the_loss_matches_open_clip(architecture: dict[str, Any] | None) -> None:
    config = preset_config("coca", "tiny")
    network = built(config, architecture)
    pairs = batch(network)
    network.requires_grad_(True)
    clip = network.towers.clip
    said = clip(network.towers.normalise(pairs.clean.images), pairs.texts)
    peer = CoCaLoss(caption_loss_weight=1.0, clip_loss_weight=1.0)
    wanted = dict(zip(("contrastive", "captioning"), peer(**said), strict=True))
    for name, loss in wanted.items():
        got = loss_of(network, config, pairs, name)
        torch.testing.assert_close(got, loss, atol=1e-5, rtol=1e-5)
        parameters = [p for p in network.parameters() if p.requires_grad]
        grads = torch.autograd.grad(got, parameters, retain_graph=True, allow_unused=True)
        peers = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for one, two in zip(grads, peers, strict=True):
            assert (one is None) == (two is None)
            if one is not None:
                torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_trimmed_captions_have_the_same_loss() -> None:
    config = preset_config("coca", "tiny")
    network = built(config).eval()
    whole, trimmed = (loss_of(network, config, batch(network, length)) for length in (16, 9))
    torch.testing.assert_close(trimmed, whole, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("words", "vocabulary"), [(1, 2), (3, 5), (7, 4)])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_targets_match_a_plain_loop(words: int, vocabulary: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(words)
    student, teacher = (torch.randn(words, vocabulary, generator=generator) for _ in range(2))
    labels = torch.randint(0, vocabulary, (words,), generator=generator)
    total = 0.0
    for n in range(words):
        q, p = ([math.exp(float(x) / temperature) for x in logits[n]] for logits in (teacher, student))
        q, p = [x / sum(q) for x in q], [x / sum(p) for x in p]
        total += sum(a * math.log(a / b) for a, b in zip(q, p, strict=True))
    objective = DistillCaptions(
        DistillCaptionsConfig(weight=1.0, temperature=temperature), CaptioningConfig(weight=1.0)
    )
    outputs = (
        said("captioning", WordLogits(student, labels, torch.zeros(words).long())),
        said("distill_captions", WordLogits(teacher, labels, torch.zeros(words).long())),
    )
    loss, report = objective(*outputs)
    assert float(loss) == pytest.approx(temperature**2 * total / words, abs=1e-5)
    assert float(report["diag/caption_kl"]) == pytest.approx(total / words, abs=1e-5)
    hard, _ = Captioning(CaptioningConfig(weight=1.0))(outputs[0], None)
    plain = [float(student[n].exp().sum().log() - student[n, labels[n]]) for n in range(words)]
    assert float(hard) == pytest.approx(sum(plain) / words, abs=1e-5)


def said(name: str, words: WordLogits) -> Output:
    nothing = torch.zeros(1, 1)
    return Output(nothing, torch.tensor(1.0), ViewOutput(nothing), extra={name: words})


def test_words_are_decoded_once_for_both_objectives(monkeypatch: pytest.MonkeyPatch) -> None:
    config = variant_config("sd-coca-every-step")
    network, calls = built(config), []
    decode = network.towers.decode

    def spy(*given: Any) -> Tensor:
        calls.append(len(given[0]))
        return decode(*given)

    monkeypatch.setattr(network.towers, "decode", spy)
    objectives = build_objectives(config)
    pairs = batch(network)
    objectives.head_outputs(network, pairs, network.forward_student(pairs))
    assert calls == [4]
    alone = build_objectives(override(config, ["objectives.captioning.weight=0"]))
    output = alone.head_outputs(network, pairs, network.forward_student(pairs))
    assert calls == [4, 4]
    assert "distill_captions" in output.extra


def test_clip_cannot_caption() -> None:
    config = override(preset_config("clip", "tiny"), ["objectives.captioning.weight=1"])
    with pytest.raises(ModelError, match="has no caption decoder; choose a CoCa"):
        built(config)


def test_a_trained_coca_writes_its_captions() -> None:
    """Overfitted, its greedy captions are those it learnt: the shift, the decoder and generation agree."""
    config, pairs = preset_config("coca", "tiny"), flat_pairs()
    network = built(config, little("sd-coca-tiny"))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(40):
        loss = loss_of(network, config, pairs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    images = network.towers.normalise(pairs.clean.images)
    settings = GenerationSettings(search="greedy", max_tokens=12, min_tokens=0)
    captions = generate(network.towers.clip, images, settings, ids=SpecialTokens(START, END, PAD))
    assert [list(one[0].tokens) for one in captions] == [
        [word for word in row if word not in (START, END, PAD)] for row in pairs.texts.tolist()
    ]


@pytest.mark.parametrize("kind", ["cross-attention", "merged", "skip", "queries"])
def test_in_the_fusion_no_word_sees_later_words(kind: str) -> None:
    fusion = [f"fusion.kind={kind}", "fusion.width=32", "fusion.heads=2", "fusion.layers=2"]
    captioning = ["objectives.captioning.weight=1", "objectives.captioning.through=fusion"]
    config = override(preset_config("clip", "tiny"), [*fusion, *captioning])
    pairs = flat_pairs()
    network = built(config, little("sd-tiny"))

    def logits(texts: Tensor, images: Tensor = pairs.clean.images) -> Tensor:
        changed = Batch(pairs.rows, texts, View(images))
        output = build_objectives(config).head_outputs(network, changed, network.forward_student(changed))
        found: Tensor = output.extra["captioning"].logits
        return found

    plain = logits(pairs.texts)
    later = pairs.texts.clone()
    later[0, 3] = 55  # the third word of the first caption: of its four predictions only the last may change
    changed = logits(later)
    torch.testing.assert_close(changed[:3], plain[:3])
    assert not torch.allclose(changed[3], plain[3], atol=1e-4)
    torch.testing.assert_close(changed[4:], plain[4:])
    other = logits(pairs.texts, pairs.clean.images.flip(0))
    assert not torch.allclose(other[0], plain[0], atol=1e-5)


def test_captions_are_weighted_by_their_clean_probability() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(5, 4, generator=generator), torch.tensor([0, 1, 2, 3, 1])
    pairs, weights = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([1.0, 0.5, 0.0])
    output = replace(said("captioning", WordLogits(logits, labels, pairs)), pair_weights=weights)
    loss, _ = Captioning(CaptioningConfig(weight=1.0))(output, None)
    each = [float(logits[n].exp().sum().log() - logits[n, labels[n]]) for n in range(5)]
    assert float(loss) == pytest.approx((each[0] + each[1] + 0.5 * (each[2] + each[3])) / 3, abs=1e-5)
