"""Losses over gathered rows equal those of the whole batch in one process, in value and in every gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from core.model.outputs import Output
from core.objectives.contrastive import Contrastive
from core.objectives.distill_features import DistillFeatures, FeatureOutputs
from core.objectives.distill_logits import DistillLogits
from core.objectives.distill_similarity import DistillSimilarity
from core.objectives.parts.centring import sinkhorn
from core.objectives.weighting.self_confidence import with_pair_weights
from core.ranks import collectives
from core.ranks.batch_norm import RankBatchNorm
from core.ranks.collectives import all_gather_with_grad, fetch_rows, logsumexp_of_rows, overall_mean
from core.spec.config import ContrastiveConfig, DistillFeaturesConfig, DistillLogitsConfig, DistillSimilarityConfig
from core.training.team.team import ALONE, Team
from tests.core.objectives.fake_outputs import mix_of, output_of
from tests.core.ranks.forked import over_ranks

B, D = 12, 6
Loss = Callable[[Output, Output], Tensor]


def _losses() -> dict[str, Loss]:
    smooth = Contrastive(ContrastiveConfig(label_smoothing=0.1))
    sigmoid = Contrastive(ContrastiveConfig(kind="sigmoid"))
    similarity, logits = DistillSimilarity(DistillSimilarityConfig()), DistillLogits(DistillLogitsConfig())
    features = DistillFeatures(DistillFeaturesConfig(on="both", cross=True))
    return {
        "softmax": lambda student, teacher: smooth(student, teacher)[0],
        "sigmoid": lambda student, teacher: sigmoid(replace(student, logit_bias=torch.tensor(-3.0)), teacher)[0],
        "self-confidence": lambda student, teacher: smooth(with_pair_weights(student, 0.5), teacher)[0],
        "similarities, mixed": lambda student, teacher: similarity(student, teacher)[0],
        "logits, mixed": lambda student, teacher: logits(student, teacher)[0],
        "features, mixed": lambda student, teacher: features(
            student.with_extra({features.name: FeatureOutputs(torch.tensor(9.0))}), teacher
        )[0],
        "sinkhorn": lambda student, teacher: (sinkhorn(teacher.text * 9) * student.text).sum(dim=1).mean(),
    }


def _rows(whole: Output, team: Team, learns: bool) -> tuple[Output, list[Tensor]]:
    """This rank's rows of ``whole``, and the tensors whose gradients are compared."""
    count = B // team.size
    own = slice(team.launch.rank * count, (team.launch.rank + 1) * count)
    leaves: list[Tensor] = []

    def leaf(values: Tensor) -> Tensor:
        leaves.append(values[own].clone().requires_grad_(learns))
        return leaves[-1]

    clean = replace(whole.clean, image=leaf(whole.clean.image))
    views = tuple(replace(view, image=leaf(view.image)) for view in whole.distilled)
    return replace(whole, clean=clean, distilled=views, text=leaf(whole.text)), leaves


def _values(team: Team) -> dict[str, list[list[float]]]:
    """For each loss: its value, and the gradients with respect to this rank's rows."""
    found = {}
    for name, loss in _losses().items():
        student, leaves = _rows(output_of(B, D, 1, (None, mix_of(B, 0.7))), team, learns=True)
        teacher, _ = _rows(output_of(B, D, 2, (None,)), team, learns=False)
        value = loss(student, teacher)
        slopes = torch.autograd.grad(value, leaves, allow_unused=True)
        flat = [torch.zeros_like(x) if g is None else g for x, g in zip(leaves, slopes, strict=True)]
        found[name] = [[float(value.detach())], *(slope.flatten().tolist() for slope in flat)]
    return found


def test_local_rows_against_gathered_keys_equal_the_whole_batch() -> None:
    ranks = 3
    whole, parts = _values(ALONE), over_ranks(ranks, _values)
    for name, (value, *slopes) in whole.items():
        mean = sum(part[name][0][0] for part in parts) / ranks
        assert mean == pytest.approx(value[0], rel=1e-6, abs=1e-6), name
        for number, slope in enumerate(slopes, 1):
            joined = [one / ranks for part in parts for one in part[name][number]]  # gradients are means over ranks
            assert joined == pytest.approx(slope, rel=1e-5, abs=1e-6), name


def test_rows_are_fetched_from_the_rank_that_has_them() -> None:
    """In any order, with different numbers of rows per rank; gradients are sent back."""
    counts = [2, 0, 3]
    everything = torch.arange(5.0)[:, None] * torch.ones(2)
    wanted = [torch.tensor([4, 0, 0]), torch.tensor([3]), torch.tensor([1, 2])]

    def take(team: Team) -> tuple[list[list[float]], list[list[float]]]:
        first = sum(counts[: team.launch.rank])
        own = everything[first : first + counts[team.launch.rank]].clone().requires_grad_()
        rows = fetch_rows(own, wanted, counts)
        (rows * (team.launch.rank + 1)).sum().backward()
        assert own.grad is not None
        return rows.tolist(), own.grad[:, 0].tolist()

    answers = over_ranks(3, take)
    assert [rows for rows, _ in answers] == [everything[one].tolist() for one in wanted]
    assert [slope for _, slope in answers] == [[2.0, 3.0], [], [3.0, 2.0, 1.0]]


def test_row_routing_is_exchanged_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is copied with pinned memory, once for forward and backward."""
    crossed: list[list[int]] = []

    def count(numbers: Tensor, device: torch.device) -> Tensor:
        crossed.append(numbers.tolist())
        return numbers.to(device)

    def take(team: Team) -> list[list[int]]:
        own = torch.ones(2, 1, requires_grad=True)
        fetch_rows(own, [torch.tensor([3, 0]), torch.tensor([2])]).sum().backward()
        assert own.grad is not None
        return crossed

    monkeypatch.setattr(collectives, "to_device", count)
    assert over_ranks(2, take) == [[[0], [1, 0]], [[1, 0], [0]]]


def test_counts_and_sums_are_global() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(count, 3, generator=generator) for count in (0, 2, 5)]

    def ask(team: Team) -> tuple[float, list[float], list[bool]]:
        own = rows[team.launch.rank]
        flags = all_gather_with_grad(torch.tensor([team.launch.rank == 1]))
        return float(overall_mean(own[:, 0])), logsumexp_of_rows(own).tolist(), flags.tolist()

    answers = over_ranks(3, ask)
    whole = torch.cat(rows)
    assert sum(mean for mean, _, _ in answers) / 3 == pytest.approx(float(whole[:, 0].mean()), abs=1e-6)
    for _, log, flags in answers:
        assert log == pytest.approx(whole.logsumexp(dim=0).tolist(), abs=1e-6)
        assert flags == [False, True, False]


def test_batch_norm_uses_all_rows() -> None:
    x = torch.randn(9, 4, 3, generator=torch.Generator().manual_seed(0))
    parts = (x[:2], x[2:])
    plain = nn.BatchNorm1d(4)

    def norm(team: Team) -> tuple[list[float], list[float], list[float]]:
        mine = RankBatchNorm(4)
        own = parts[team.launch.rank].clone().requires_grad_()
        y = mine(own)
        ((y**3).sum() * team.size).backward()
        assert own.grad is not None
        assert mine.running_var is not None
        return y.flatten().tolist(), (own.grad / team.size).flatten().tolist(), mine.running_var.tolist()

    whole = x.clone().requires_grad_()
    y = plain(whole)
    (y**3).sum().backward()
    assert whole.grad is not None
    assert plain.running_var is not None
    answers = over_ranks(2, norm)
    assert [one for made, _, _ in answers for one in made] == pytest.approx(y.flatten().tolist(), abs=1e-5)
    assert [one for _, slope, _ in answers for one in slope] == pytest.approx(whole.grad.flatten().tolist(), abs=1e-4)
    assert answers[0][2] == answers[1][2] == pytest.approx(plain.running_var.tolist(), abs=1e-6)
