"""Which belief a run has, and when it is refreshed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.objectives.weighting.belief import Belief
from core.objectives.weighting.rolling import RollingBelief
from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.training.believing import BeliefRefresh, build_belief


def config(*settings: str, preset: str = "sd-clip") -> RunConfig:
    return override(preset_config(preset, "tiny"), ["belief.action=weigh", *settings])


LEAN = config(preset="sd-clip-lean")  # its targets are of the memory of pairs


def parts(sharded: bool = False, teacher: bool = True) -> Any:
    class Pairs:
        def __len__(self) -> int:
            return 20

    pairs: Any = Pairs()
    pairs.sharded = sharded
    return SimpleNamespace(
        train=pairs,
        teacher=object() if teacher else None,
        network=SimpleNamespace(towers=SimpleNamespace(embed_dim=4), logit_scale=torch.tensor(2.0)),
        runtime=SimpleNamespace(device=torch.device("cpu")),
        loader=SimpleNamespace(steps_per_epoch=6, left_out=None),
    )


@pytest.mark.parametrize(
    ("of", "given", "kind", "taught"),
    [
        (config("belief.action=none"), {}, None, None),
        (config("teacher.every=1"), {}, Belief, True),
        (config("teacher.every=3"), {}, Belief, False),  # two thirds of what it keeps would be the student's
        (config("teacher.every=1"), {"teacher": False}, Belief, False),
        (config(), {"sharded": True}, RollingBelief, True),
        (LEAN, {}, Belief, False),  # there is only what the student saw
    ],
)
def test_the_belief_of_a_run(of: RunConfig, given: dict[str, bool], kind: Any, taught: bool | None) -> None:
    found = build_belief(of, parts(**given))
    assert (None if found is None else type(found)) is kind
    assert (None if found is None else found.taught) is taught
    if found is not None:
        assert len(found.memory if isinstance(found, RollingBelief) else found.weight) == 20


def test_shards_keep_no_features_to_be_targets() -> None:
    with pytest.raises(UserError, match="shards hold too many pairs to keep the features of each; set it to pass"):
        build_belief(LEAN, parts(sharded=True))


@pytest.mark.parametrize(("epochs", "due"), [(0.5, [3, 6, 9, 12]), (1.0, [6, 12]), (0.01, list(range(1, 13)))])
def test_a_belief_is_refreshed_so_many_times_an_epoch(epochs: float, due: list[int]) -> None:
    refreshed: list[tuple[float, float]] = []
    belief: Any = SimpleNamespace(refresh=lambda scale, done: refreshed.append((float(scale), done)) or {"a": scale})
    schedules: Any = SimpleNamespace(progress=lambda step: step / 12)
    refresh = BeliefRefresh(config(f"belief.refresh={epochs}"), parts(), schedules, belief)
    told = {step: refresh(step) for step in range(1, 13)}
    assert [step for step, report in told.items() if report] == due
    assert refreshed == [(2.0, step / 12) for step in due]
    assert BeliefRefresh(config(), parts(), schedules, None)(6) == {}


def test_pairs_that_training_leaves_out_are_not_judged() -> None:
    found = parts()
    found.loader.left_out = torch.arange(20) < 4
    belief = build_belief(LEAN, found)
    assert isinstance(belief, Belief)
    image, text = torch.nn.functional.normalize(torch.randn(2, 20, 4), dim=-1)
    belief.student_image.copy_(image)
    belief.student_text.copy_(text)
    belief.seen[4:] = True
    belief.refresh(2.0, 1.0)
    assert (belief.memory[:4] == 0.5).all()
    assert (belief.memory[4:] != 0.5).any()
