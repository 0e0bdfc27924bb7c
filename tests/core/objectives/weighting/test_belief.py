"""Belief: wrong pairs are found in made-up features, doubted pairs do not count, and nothing is lost on a resume."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from core.model.outputs import Output, ViewOutput
from core.objectives.contrastive import Contrastive
from core.objectives.weighting.belief import Belief, probability_right, weighted_mean
from core.objectives.weighting.evidence import evidence, ranks
from core.spec.config import BeliefConfig, ContrastiveConfig


def pairs(count: int, wrong: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit features of ``count`` pairs in 12 kinds; the captions of the first ``wrong`` are dealt on by one."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randn(12, 16, generator=generator)
    kind = torch.arange(count) % 12
    image = F.normalize(kinds[kind] + 0.3 * torch.randn(count, 16, generator=generator), dim=1)
    text = F.normalize(kinds[kind] + 0.3 * torch.randn(count, 16, generator=generator), dim=1)
    dealt = torch.cat([torch.arange(wrong).roll(1), torch.arange(wrong, count)])
    return image, text[dealt], torch.arange(count) < wrong


def test_wrong_pairs_have_the_least_evidence() -> None:
    image, text, wrong = pairs(240, 60)
    found = evidence(image, text, 20.0)
    assert wrong[found.argsort()[:60]].float().mean() > 0.9
    order = torch.randperm(240, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(evidence(image[order], text[order], 20.0), found[order], atol=0.02)


def test_a_pair_learnt_by_heart_is_still_doubted_by_its_neighbours() -> None:
    """Its own similarity is the highest of all; those alike say otherwise."""
    image, text, wrong = pairs(240, 24)
    by_heart = torch.zeros(240, 24)
    by_heart[:24] = 6.0 * torch.eye(24)
    image, text = (F.normalize(torch.cat([x, by_heart], dim=1), dim=1) for x in (image, text))
    own = (image * text).sum(dim=1)
    assert own[wrong].min() > own[~wrong].mean()
    found = evidence(image, text, 20.0)
    assert found[wrong].mean() < found[~wrong].mean()


@pytest.mark.parametrize("block", [40, 240])
def test_evidence_does_not_depend_on_how_pairs_are_taken(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """241 leave a single pair for the last block; kinds that lie together must not be judged by their block's mean."""
    image, text, _ = pairs(241, 60)
    together = evidence(image, text, 20.0)
    monkeypatch.setattr("core.objectives.weighting.evidence.BLOCK", block)
    torch.testing.assert_close(evidence(image, text, 20.0), together, atol=0.01, rtol=0.0)


def test_ranks_are_even() -> None:
    assert ranks(torch.tensor([3.0, 1.0, 2.0])).tolist() == [1.0, 0.0, 0.5]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=40, unique=True), st.sampled_from([0.0, 0.25, 0.6]))
def test_more_evidence_is_never_less_probable(values: list[float], share: float) -> None:
    x = torch.tensor(values)
    right = probability_right(x, share, 0.5)
    assert torch.isfinite(right).all()
    assert (right[x.argsort()].diff() >= 0).all()
    doubted = int((right < 0.5).sum())
    assert doubted <= len(x) // 2
    if share:
        assert doubted == min(round(share * len(x)), len(x) // 2)


def test_two_kinds_are_told_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    low, high = (centre + 0.05 * torch.randn(count, generator=generator) for centre, count in ((0.2, 30), (0.7, 70)))
    right = probability_right(torch.cat([low, high]), 0.0, 0.5)
    assert (right < 0.5).nonzero().flatten().tolist() == list(range(30))


def output(batch: int, belief: torch.Tensor | None) -> Output:
    generator = torch.Generator().manual_seed(2)
    image, text = (F.normalize(torch.randn(batch, 8, generator=generator), dim=1) for _ in range(2))
    view = ViewOutput(image)
    return Output(text, torch.tensor(7.0), view, (view,), belief=belief)


def test_doubted_pairs_are_negatives_and_no_more() -> None:
    belief = torch.tensor([1.0, 0.0, 0.5, 1.0, 0.0])
    student = output(5, belief)
    loss, _ = Contrastive(ContrastiveConfig())(student, None)
    logits = (7.0 * student.clean.image @ student.text.T).double()
    total = 0.0
    for i in range(5):
        for scores in (logits[i], logits[:, i]):
            total += float(belief[i]) * float(scores.exp().sum().log() - scores[i]) / 2
    assert float(loss) == pytest.approx(total / 2.5, rel=1e-5)
    plain, _ = Contrastive(ContrastiveConfig())(output(5, None), None)
    even, _ = Contrastive(ContrastiveConfig())(output(5, torch.ones(5)), None)
    assert float(plain) == pytest.approx(float(even))
    assert float(weighted_mean(torch.ones(3), torch.zeros(3))) == 0.0


def watched(config: BeliefConfig, rounds: int, belief: Belief | None = None, progress: float = 1.0) -> Belief:
    image, text, _ = pairs(120, 30)
    belief = belief or Belief(config, 120, 16, taught=True)
    for _ in range(rounds):
        for rows in torch.arange(120).split(40):
            view = ViewOutput(image[rows])
            seen = belief.weigh(rows, Output(text[rows], torch.tensor(20.0), view, (view,)), None)
            assert seen.belief is not None
        belief.refresh(20.0, progress)
    return belief


def test_the_first_part_of_training_believes_everyone() -> None:
    config = BeliefConfig(action="drop", begin=0.5)
    assert (watched(config, 2, progress=0.4).weight == 1).all()
    late = watched(config, 2, progress=0.5)
    wrong = torch.arange(120) < 30
    assert late.weight[wrong].mean() < 0.2
    assert late.weight[~wrong].mean() > 0.8
    assert (watched(replace_action(config, "watch"), 2).weight == 1).all()


def test_a_pair_that_was_never_seen_counts_in_full() -> None:
    """As in a refresh before the first epoch is over."""
    image, text, _ = pairs(120, 30)
    belief = Belief(BeliefConfig(action="drop", begin=0.0), 120, 16, taught=False)
    rows = torch.arange(80)
    view = ViewOutput(image[rows])
    belief.weigh(rows, Output(text[rows], torch.tensor(20.0), view, (view,)), None)
    belief.refresh(20.0, 1.0)
    assert (belief.weight[80:] == 1).all()
    assert belief.weight[:80].min() == 0


def test_pairs_left_out_of_training_do_not_change_what_is_believed_of_others() -> None:
    """Else features that are not there would make a lower group, and wrong pairs that are read pass for right."""
    image, text, _ = pairs(120, 30)
    left_out = torch.arange(240) % 2 == 1
    whole = Belief(BeliefConfig(action="weigh", begin=0.0), 240, 16, taught=False, left_out=left_out)
    alone = Belief(BeliefConfig(action="weigh", begin=0.0), 120, 16, taught=False)
    rows = torch.arange(120)
    view = ViewOutput(image)
    for _ in range(3):
        for belief, of in ((whole, 2 * rows), (alone, rows)):
            belief.weigh(of, Output(text, torch.tensor(20.0), view, (view,)), None)
            belief.refresh(20.0, 1.0)
    assert torch.equal(whole.weight[::2], alone.weight)
    assert torch.equal(whole.memory[::2], alone.memory)
    assert (whole.weight[1::2] == 1).all()
    assert (whole.memory[1::2] == 0.5).all()


def replace_action(config: BeliefConfig, action: str) -> BeliefConfig:
    return BeliefConfig.model_validate(config.model_dump() | {"action": action})


def test_a_resumed_memory_goes_on_bit_for_bit() -> None:
    config = BeliefConfig(action="weigh", begin=0.0)
    whole = watched(config, 3)
    resumed = Belief(config, 120, 16, taught=True)
    resumed.load_state_dict(watched(config, 1).state_dict())
    watched(config, 2, resumed)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_memory_that_kept_a_teachers_features_goes_on_without_them() -> None:
    kept, found = (
        Belief(BeliefConfig(action="watch"), pairs=6, embed_dim=4, taught=taught) for taught in (True, False)
    )
    kept.student_text.fill_(0.25)
    found.load_state_dict(kept.state_dict())
    assert found.student_text.eq(0.25).all()
    with pytest.raises(RuntimeError, match="teacher_image"):  # the other way something is missing
        kept.load_state_dict(found.state_dict())


def test_a_teacher_of_another_width_is_not_heard() -> None:
    belief = Belief(BeliefConfig(action="watch"), 4, 8, taught=True)
    student = output(4, None)
    other = replace(student, text=torch.zeros(4, 3))
    belief.weigh(torch.arange(4), student, other)
    assert torch.equal(belief.teacher_text, student.text)


def test_later_evidence_counts_more_and_none_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found at the n-th time counts n times, of student and teacher alike."""
    found = torch.rand(4, 2, 5, generator=torch.Generator().manual_seed(0))  # by time, network and pair
    told = iter(found.flatten(0, 1))
    monkeypatch.setattr("core.objectives.weighting.belief.evidence", lambda image, text, scale: next(told))
    belief = Belief(BeliefConfig(action="watch"), 5, 4, taught=True)
    for time in range(1, 5):
        belief.refresh(10.0, 1.0)
        counted = sum(n * found[n - 1].mean(dim=0) for n in range(1, time + 1))
        torch.testing.assert_close(belief.memory, counted / sum(range(1, time + 1)))


def test_a_pair_is_remembered_as_the_student_last_saw_it_and_a_new_one_is_as_it_is_now() -> None:
    image, text, _ = pairs(12, 0)
    belief = Belief(BeliefConfig(action="watch"), 12, 16, taught=False)

    def seen(rows: list[int], turn: int) -> Output:
        return Output(text[rows].roll(turn, 1), torch.tensor(20.0), ViewOutput(image[rows].roll(turn, 1)))

    belief.weigh(torch.tensor([3, 5]), seen([3, 5], 0), None)
    belief.weigh(torch.tensor([5, 7]), seen([5, 7], 1), None)
    now = seen([7, 3, 5, 0], 2)
    now.text.requires_grad_()
    found = belief.remembered(torch.tensor([7, 3, 5, 0]), now)
    expected = [image[7].roll(1), image[3], image[5].roll(1), image[0].roll(2)]
    torch.testing.assert_close(found.clean.image, torch.stack(expected), atol=2e-3, rtol=0)
    expected = [text[7].roll(1), text[3], text[5].roll(1), text[0].roll(2)]
    torch.testing.assert_close(found.text, torch.stack(expected), atol=2e-3, rtol=0)
    assert found.distilled == (found.clean,)
    assert not found.text.requires_grad
    assert float(found.logit_scale) == 20.0
    torch.testing.assert_close(torch.linalg.vector_norm(found.clean.image, dim=1), torch.ones(4))
