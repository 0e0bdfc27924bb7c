"""Matching: hard negatives that are never the true pair, the draw and the loss against plain loops."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from core.data.batch import Batch, View
from core.model.network import Network
from core.model.outputs import Output, ViewOutput
from core.model.towers.towers import resolve_architecture
from core.objectives.build import build_network, build_objectives
from core.objectives.matching import Matching, PairLogits, draw_columns, negative_probabilities, same_captions
from core.ranks.draws import shared_generator
from core.spec.config import MatchingConfig, RunConfig, override
from core.spec.presets import preset_config


def seed_all(seed: int) -> None:
    torch.manual_seed(seed)
    shared_generator.manual_seed(seed)


CAPTIONS = ["a red circle", "two dogs sleep on the mat", "a red circle", "a tree", "woman firefighter"]
CLASHES = {(0, 2), (2, 0)}


def config(kind: str = "cross-attention", negatives: str = "hard") -> RunConfig:
    settings = [
        "objectives.matching.weight=1",
        f"objectives.matching.negatives={negatives}",
        f"fusion.kind={kind}",
        "fusion.width=32",
        "fusion.heads=2",
        "fusion.layers=2",
    ]
    return override(preset_config("clip", "tiny"), settings)


def built(settings: RunConfig) -> tuple[Network, Batch]:
    seed_all(0)
    network = build_network(settings, resolve_architecture("sd-tiny"))
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    return network, Batch(torch.arange(5), network.towers.tokenize(CAPTIONS)[:, :9], View(images))


@pytest.mark.parametrize(("batch", "scale"), [(2, 1.0), (3, 10.0), (6, 100.0)])
def test_probabilities_are_a_softmax_without_the_true_pair(batch: int, scale: float) -> None:
    logits = scale * torch.randn(batch, batch, generator=torch.Generator().manual_seed(batch))
    weights = negative_probabilities(logits, torch.eye(batch, dtype=torch.bool))
    for i in range(batch):
        total = sum(math.exp(float(logits[i, j])) for j in range(batch))
        for j in range(batch):
            expected = 0.0 if i == j else math.exp(float(logits[i, j])) / total + 1e-4
            assert float(weights[i, j]) == pytest.approx(expected, rel=1e-4)


def test_a_true_pair_is_never_a_negative() -> None:
    """With similarities so sharp that the softmax is the true pair alone, and captions that occur twice."""
    tokens = torch.tensor([[1, 2], [1, 3], [1, 2], [4, 4]])
    never = same_captions(tokens)
    assert never.tolist() == [
        [True, False, True, False],
        [False, True, False, False],
        [True, False, True, False],
        [False, False, False, True],
    ]
    drawn = set()
    for seed in range(300):
        seed_all(seed)
        column = draw_columns(negative_probabilities(100 * torch.eye(4), never))
        drawn |= set(enumerate(column.tolist()))
    assert drawn == {(i, j) for i in range(4) for j in range(4) if not never[i, j]}


def test_hard_negatives_follow_the_softmax() -> None:
    seed_all(0)
    logits = torch.tensor([[9.0, 1.0, 0.0], [2.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    weights = negative_probabilities(logits, torch.eye(3, dtype=torch.bool))
    counts = torch.zeros(3, 3)
    for _ in range(2000):
        counts[torch.arange(3), draw_columns(weights)] += 1
    torch.testing.assert_close(counts / 2000, weights / weights.sum(dim=1, keepdim=True), atol=0.04, rtol=0)


def test_a_batch_of_one_caption_has_no_negatives() -> None:
    network, batch = built(config())
    alone = replace(batch, texts=batch.texts[:1].expand(5, -1))
    (matching,) = (one for one in build_objectives(config()) if one.name == "matching")
    answer = matching.head_outputs(network, alone, network.forward_student(alone))
    assert answer.match.tolist() == [1] * 5
    assert answer.image_rows.tolist() == list(range(5))


@pytest.mark.parametrize("negatives", ["hard", "random"])
@pytest.mark.parametrize("kind", ["cross-attention", "merged", "queries"])
def test_each_scored_pair_is_independent_of_the_batch(kind: str, negatives: str) -> None:
    settings = config(kind, negatives)
    network, batch = built(settings)
    (matching,) = (one for one in build_objectives(settings) if one.name == "matching")
    shown: list[Tensor] = []
    assert network.fusion is not None
    network.fusion.register_forward_hook(lambda module, given, made: shown.append(made.pooled))
    answer = matching.head_outputs(network, batch, network.forward_student(batch))
    assert answer.match.tolist() == [1] * 5 + [0] * 10
    alone = {}  # every image with every caption, one at a time
    for i in range(5):
        for j in range(5):
            fused = network.fuse(batch.clean.images[i : i + 1], batch.texts[j : j + 1])
            alone[i, j] = network.heads["matching"](fused)[0]
    for m, (image, match) in enumerate(zip(answer.image_rows.tolist(), answer.match.tolist(), strict=True)):
        same = [ij for ij, logits in alone.items() if torch.allclose(logits, answer.logits[m], atol=1e-5)]
        assert any(i == image for i, _ in same)
        true = {(image, image)} | {clash for clash in CLASHES if clash[0] == image}
        assert bool(true & set(same)) == bool(match)


@pytest.mark.parametrize("pairs", [1, 9])
def test_loss_matches_a_plain_loop(pairs: int) -> None:
    generator = torch.Generator().manual_seed(pairs)
    logits = torch.randn(pairs, 2, generator=generator)
    match = torch.randint(0, 2, (pairs,), generator=generator)
    which = torch.randint(0, 3, (pairs,), generator=generator)
    weights = torch.tensor([1.0, 0.25, 0.0])
    total = doubted = weight = 0.0
    for m in range(pairs):
        loss = math.log(sum(math.exp(float(x)) for x in logits[m])) - float(logits[m, match[m]])
        share = float(weights[which[m]]) if match[m] == 1 else 1.0
        total, doubted, weight = total + loss, doubted + share * loss, weight + share
    for chosen, expected in ((None, total / pairs), (weights, doubted / max(weight, 1e-6))):
        output = Output(
            torch.zeros(3, 1),
            torch.tensor(1.0),
            ViewOutput(torch.zeros(3, 1)),
            extra={"matching": PairLogits(logits, match, which)},
            pair_weights=chosen,
        )
        loss, report = Matching(MatchingConfig(weight=1.0))(output, None)
        assert float(loss) == pytest.approx(expected, abs=1e-5)
        assert float(report["diag/matching_accuracy"]) == pytest.approx(
            sum(int(logits[m, 1] > logits[m, 0]) == int(match[m]) for m in range(pairs)) / pairs
        )
