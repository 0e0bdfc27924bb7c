"""Masked words: what is masked and how, restored from image and words, the loss against a plain loop."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from core.data.batch import Batch, View
from core.model.network import Network
from core.model.outputs import Output, ViewOutput
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network, build_objectives
from core.objectives.masked_words import MaskedWords, mask_words
from core.objectives.parts.words import WordLogits
from core.ranks.draws import shared_generator
from core.spec.config import MaskedWordsConfig, RunConfig, override
from core.spec.presets import preset_config
from core.training.schedules import build_schedules
from tests.core.objectives.little_pairs import flat_pairs, little
from tests.core.teacher.frozen_teacher import frozen_teacher


def seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    shared_generator.manual_seed(seed)


CAPTIONS = ["a red circle", "two dogs sleep on the mat", "a tree", "woman firefighter"]
SPECIAL = torch.tensor([0, 90, 91])


def config(kind: str = "merged", *settings: str) -> RunConfig:
    fusion = [f"fusion.kind={kind}", "fusion.width=32", "fusion.heads=2", "fusion.layers=2"]
    return override(preset_config("clip", "tiny"), ["objectives.masked_words.weight=1", *fusion, *settings])


def built(settings: RunConfig, architecture: str = "sd-tiny") -> tuple[Network, Batch]:
    seed_all(0)
    network = build_network(settings, resolve_architecture(architecture))
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    return network, Batch(torch.arange(4), network.towers.tokenize(CAPTIONS)[:, :9], View(images))


def test_rates_of_masked_hidden_and_other_words() -> None:
    seed_all(0)
    tokens = torch.randint(1, 90, (400, 50))
    tokens[:, 0], tokens[:, 40], tokens[:, 41:] = 90, 91, 0
    shown = mask_words(tokens, SPECIAL, vocabulary=100, rate=0.15)
    words = ~torch.isin(tokens, SPECIAL)
    assert not (shown.masked & ~words).any()  # never start, end or padding
    assert float(shown.masked.sum() / words.sum()) == pytest.approx(0.15, abs=0.01)
    assert float(shown.hidden.sum() / shown.masked.sum()) == pytest.approx(0.8, abs=0.02)
    other = shown.tokens != tokens
    assert float(other.sum() / shown.masked.sum()) == pytest.approx(0.1, abs=0.02)
    assert not (other & ~shown.masked).any()
    assert not (other & shown.hidden).any()
    assert not torch.isin(shown.tokens[other], SPECIAL).any()
    assert len(shown.tokens[other].unique()) > 60  # any word may be put in


def test_special_ids_match_the_tokenizer() -> None:
    network, batch = built(config())
    start, end = int(batch.texts[0, 0]), int(batch.texts[0].max())
    assert {0, start, end} <= set(network.towers.special_ids)
    assert set(network.towers.special_ids) <= {0, 49406, 49407}


@pytest.mark.parametrize("architecture", ["sd-tiny", "sd-coca-tiny"])
def test_a_masked_word_has_no_influence(architecture: str) -> None:
    """Whatever the word was, the states are those of the stand-in; the end of text is still found."""
    network, batch = built(config(), architecture)
    towers = network.towers
    hidden = torch.zeros_like(batch.texts, dtype=torch.bool)
    hidden[1, 2] = True
    stand_in = network.heads["masked_words"].mask_token
    other = batch.texts.clone()
    other[1, 2] = 345
    one, two = (towers.encode_text(tokens, True, hidden, stand_in) for tokens in (batch.texts, other))
    plain = towers.encode_text(batch.texts, True)
    assert one.tokens is not None
    torch.testing.assert_close(one.tokens, two.tokens)
    torch.testing.assert_close(one.pooled, two.pooled)
    assert torch.equal(one.pooled_position, plain.pooled_position)
    torch.testing.assert_close(one.pooled[[0, 2, 3]], plain.pooled[[0, 2, 3]])
    assert not torch.allclose(one.pooled[1], plain.pooled[1])


@pytest.mark.parametrize(("words", "vocabulary"), [(1, 2), (4, 7), (6, 3)])
@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_loss_matches_a_plain_loop(words: int, vocabulary: int, alpha: float) -> None:
    generator = torch.Generator().manual_seed(words)
    student, teacher = (torch.randn(words, vocabulary, generator=generator) for _ in range(2))
    labels = torch.randint(0, vocabulary, (words,), generator=generator)
    total = 0.0
    for n in range(words):
        p, q = ([math.exp(float(x)) for x in logits[n]] for logits in (student, teacher))
        for v in range(vocabulary):
            target = (1 - alpha) * (v == int(labels[n])) + alpha * q[v] / sum(q)
            total -= target * math.log(p[v] / sum(p))
    objective = MaskedWords(MaskedWordsConfig(weight=1.0, alpha=alpha))
    outputs = [said(WordLogits(logits, labels, torch.zeros_like(labels))) for logits in (student, teacher)]
    loss, report = objective(*outputs)
    assert float(loss) == pytest.approx(total / words, abs=1e-5)
    assert float(report["diag/masked_words"]) == words


def said(restored: WordLogits) -> Output:
    nothing = torch.zeros(1, 1)
    return Output(nothing, torch.tensor(1.0), ViewOutput(nothing), extra={"masked_words": restored})


def test_a_batch_without_masked_words_costs_nothing() -> None:
    logits = torch.zeros(0, 5, requires_grad=True)
    loss, _ = MaskedWords(MaskedWordsConfig(weight=1.0))(said(WordLogits(logits, *[torch.zeros(0).long()] * 2)), None)
    loss.backward()
    assert loss.item() == 0.0


@pytest.mark.parametrize("kind", ["cross-attention", "merged", "skip", "queries"])
def test_predictions_depend_on_image_and_visible_words(kind: str) -> None:
    settings = config(kind, "objectives.masked_words.rate=0.5")
    network, batch = built(settings)
    (objective,) = (one for one in build_objectives(settings) if one.name == "masked_words")

    def logits(pairs: Batch) -> Tensor:
        seed_all(3)  # the same words are masked
        return objective.head_outputs(network, pairs, network.forward_student(pairs)).logits

    plain = logits(batch)
    assert len(plain) > 0
    blank = Batch(batch.rows, batch.texts, View(torch.zeros_like(batch.clean.images)))
    assert not torch.allclose(logits(blank), plain, atol=1e-4)
    restored = objective.head_outputs(network, batch, network.forward_student(batch))
    for label, pair in zip(restored.labels.tolist(), restored.pairs.tolist(), strict=True):
        assert label in batch.texts[pair].tolist()


def test_several_teachers_read_the_same_masked_caption() -> None:
    settings = config("merged", "objectives.masked_words.rate=0.5", "objectives.masked_words.alpha=0.4",
                      "teacher.kind=frozen", "teacher.checkpoint=former")  # fmt: skip
    network, batch = built(settings)
    former, objectives = copy.deepcopy(network), build_objectives(settings)
    teacher = frozen_teacher(settings, network, [former, copy.deepcopy(network)])
    for _ in range(2):  # and each step another one
        objectives.begin_step(network, build_schedules(settings, 10).at(5))
        target = teacher.targets(batch, objectives.teacher_head_outputs)
        output = objectives.head_outputs(network, batch, network.forward_student(batch))
        one, two = (seen.extra["masked_words"] for seen in (output, target))
        torch.testing.assert_close(one.logits, two.logits)  # all of them are equal
        assert torch.equal(one.labels, two.labels)


@pytest.mark.parametrize(("name", "least"), [("masked_words", 0.4), ("matching", 0.3)])
def test_an_objective_of_fused_pairs_is_learned(name: str, least: float) -> None:
    more = ["objectives.masked_words.weight=0", "objectives.matching.weight=1"] if name == "matching" else []
    settings, batch = config("cross-attention", "objectives.masked_words.rate=0.4", *more), flat_pairs()
    seed_all(0)
    network = build_network(settings, little("sd-tiny"))
    objectives = build_objectives(settings)
    objective = next(one for one in objectives if one.name == name)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        loss, _ = objective(objectives.head_outputs(network, batch, network.forward_student(batch)), None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) / 10 < least * losses[0]
