"""Belief that keeps no features: wrong pairs are found as they pass, and the ring is the pairs that it says it is."""

from __future__ import annotations

import pytest
import torch

from core.model.outputs import Output, ViewOutput
from core.objectives.weighting.belief import probability_right
from core.objectives.weighting.evidence import STEP, measures_of
from core.objectives.weighting.rolling import RollingBelief
from core.spec.config import BeliefConfig
from tests.core.objectives.weighting.test_belief import pairs

SCALE = torch.tensor(20.0)


def output(image: torch.Tensor, text: torch.Tensor) -> Output:
    return Output(clean=ViewOutput(image=image), text=text, logit_scale=SCALE, logit_bias=None)


def batches(count: int, size: int, epochs: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [part for _ in range(epochs) for part in torch.randperm(count, generator=generator).split(size)]


def believing(count: int, **settings: object) -> RollingBelief:
    return RollingBelief(
        BeliefConfig.model_validate({"begin": 0, "action": "weigh", **settings}), count, 16, taught=False
    )


def test_wrong_pairs_are_doubted_after_some_epochs() -> None:
    image, text, wrong = pairs(240, 60)
    belief = believing(240, action="drop")
    for rows in batches(240, 24, 4):
        belief.weigh(rows, output(image[rows], text[rows]), None)
    assert wrong[belief.memory.argsort()[:60]].float().mean() > 0.9
    told = belief.refresh(SCALE, 1.0)
    dropped = belief.weight == 0
    assert float(told["diag/doubted"]) == pytest.approx(float(dropped.float().mean()))
    assert wrong[dropped].float().mean() > 0.85
    assert dropped.sum() > 40
    given = belief.weigh(torch.arange(24), output(image[:24], text[:24]), None).belief
    assert given is not None
    assert given.dtype == torch.float32
    assert torch.equal(given, belief.weight[:24].float())


def test_the_teacher_judges_too() -> None:
    image, text, wrong = pairs(120, 30)
    noise = torch.nn.functional.normalize(torch.randn(120, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    belief = RollingBelief(BeliefConfig(action="watch"), 120, 16, taught=True)
    for rows in batches(120, 24, 4):
        belief.weigh(rows, output(noise[rows], noise[rows].roll(1, 0)), output(image[rows], text[rows]))
    assert belief.memory[wrong].mean() < belief.memory[~wrong].mean() - 0.1


def odds(measures: torch.Tensor) -> torch.Tensor:
    """The last two of five as log odds."""
    return torch.cat([measures[:3], measures[3:].logit(eps=1e-6)])


def share_below(value: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """How many of ``others`` are less, those within a step of it in part."""
    step = STEP * others.std(correction=0)
    return ((value - others) / (2 * step) + 0.5).clamp(0, 1).mean()


def test_a_step_is_what_a_plain_loop_says() -> None:
    """The share of the ring that measured less, for each pair by itself, and the mean of memory by visits."""
    image, text, _ = pairs(60, 15)
    belief = believing(60)
    ring: list[tuple[int, torch.Tensor]] = []  # the last 60: a pair, and its five measures
    memory, visits = torch.full((60,), 0.5), torch.zeros(60)
    for rows in batches(60, 10, 3):
        before = [one for one, _ in ring]
        belief.weigh(rows, output(image[rows], text[rows]), None)
        for row in rows.tolist():
            if len(ring) < 15:  # a quarter of it
                continue
            others = [one for one in before if one != row]
            none = torch.zeros(1, len(others), dtype=torch.bool)
            features = image[[row]], text[[row]], image[others], text[others]
            now = odds(torch.cat(measures_of(*features, none, SCALE)))
            of_ring = odds(torch.stack([measures for _, measures in ring], dim=1))  # (5, n)
            mean, spread = of_ring.mean(1, keepdim=True), of_ring.std(1, correction=0, keepdim=True)
            own, theirs = ((values - mean) / spread for values in (now[:, None], of_ring))
            four = [
                (own[0], theirs[0]),
                (own[1] + own[2], theirs[1] + theirs[2]),
                *zip(own[3:], theirs[3:], strict=True),
            ]
            found = torch.stack([share_below(*one) for one in four]).mean()
            memory[row] += (found - memory[row]) * 2 / (2 + visits[row])
            visits[row] += 1
        if len(ring) > 22:  # below, the loop would look at fewer neighbours than the ring has places
            torch.testing.assert_close(belief.memory[rows], memory[rows], atol=0.02, rtol=0)
        memory[rows] = belief.memory[rows]
        places = [(int(belief.pushed) - len(rows) + i) % 60 for i in range(len(rows))]
        ring += [(row, belief.measured[0][:, place].clone()) for row, place in zip(rows.tolist(), places, strict=True)]
        ring = ring[-60:]
        assert sorted(belief.rows[belief.rows >= 0].tolist()) == sorted(row for row, _ in ring)
    assert belief.visits.tolist() == visits.tolist()


def test_of_a_batch_larger_than_the_ring_its_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.objectives.weighting.rolling.REFERENCE", 8)
    image, text, _ = pairs(30, 5)
    belief = believing(30)
    for rows, held in ((torch.arange(20), range(12, 20)), (torch.arange(20, 25), (17, 18, 19, *range(20, 25)))):
        belief.weigh(rows, output(image[rows], text[rows]), None)
        assert sorted(belief.rows.tolist()) == list(held)
        assert torch.allclose(belief.images[0].float(), image[belief.rows], atol=1e-3)
        assert torch.allclose(belief.texts[0].float(), text[belief.rows], atol=1e-3)


def test_a_pair_that_was_judged_very_often_keeps_its_evidence() -> None:
    image, text, _ = pairs(40, 5)
    belief = believing(40)
    belief.weigh(torch.arange(40), output(image, text), None)
    belief.memory.fill_(0.9)
    belief.visits.fill_(254)
    for _ in range(3):
        belief.weigh(torch.arange(40), output(image, text), None)
    assert belief.visits.tolist() == [255] * 40
    assert float((belief.memory - 0.9).abs().max()) < 0.03


def test_a_resume_goes_on_bit_for_bit() -> None:
    image, text, _ = pairs(100, 20)
    steps = batches(100, 16, 3)
    whole, first, second = believing(100), believing(100), believing(100)
    for number, rows in enumerate(steps):
        seen = output(image[rows], text[rows])
        whole.weigh(rows, seen, None)
        (first if number < 7 else second).weigh(rows, seen, None)
        if number == 6:
            for one in (whole, first):
                one.refresh(SCALE, 1.0)
            second.load_state_dict(first.state_dict())
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("fitted", [1 << 20, 50])
def test_weights_are_those_of_the_mixture_of_all_or_of_a_sample(fitted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.objectives.weighting.rolling.FITTED", fitted)
    generator = torch.Generator().manual_seed(0)
    values = torch.cat(
        [0.2 + 0.05 * torch.randn(50, generator=generator), 0.7 + 0.05 * torch.randn(150, generator=generator)]
    )
    belief = believing(200)
    belief.memory.copy_(values[torch.randperm(200, generator=generator)])
    belief.visits[:-5] = 1
    belief.refresh(SCALE, 1.0)
    expected = torch.where(belief.visits > 0, probability_right(belief.memory, 0.0, 0.5), 1.0)
    within = 0.001 if fitted > 200 else 0.1
    assert ((belief.weight.float() - expected).abs() <= within).float().mean() > 0.97


def test_it_costs_seven_bytes_a_pair() -> None:
    sizes = [sum(x.nbytes for x in believing(count).state_dict().values()) for count in (100_000, 200_000)]
    assert sizes[1] - sizes[0] == 700_000
