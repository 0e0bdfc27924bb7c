"""Which belief a run has, and when it is refreshed."""

from __future__ import annotations

import csv
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from core.objectives.weighting.belief import Belief
from core.objectives.weighting.rolling import RollingBelief
from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.training.believing import BeliefRefresh, build_belief, prior_of
from core.training.loop import Loop
from tests.core.training.test_train_step import opened


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
        loader=SimpleNamespace(steps_per_epoch=6),
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


COLOURS = {"red": (220, 30, 30), "green": (20, 160, 60), "blue": (30, 60, 220), "grey": (120, 120, 120)}
COUNT = 240


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``wrong.csv``: pictures of one colour with captions of which every third is dealt out, ``right.csv``: all right; in
    both, the last is no picture.
    """
    folder, draw = tmp_path_factory.mktemp("coloured"), np.random.default_rng(0)
    names = [list(COLOURS)[i % len(COLOURS)] for i in range(COUNT)]
    for i, name in enumerate(names):
        noise = draw.integers(-25, 26, (40, 40, 3))
        Image.fromarray((np.array(COLOURS[name]) + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    (folder / f"{COUNT - 1}.png").write_text("no picture")
    for kind in ("wrong", "right"):
        with (folder / f"{kind}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["filepath", "title"])
            for i in range(COUNT):
                said = names[int(draw.integers(COUNT))] if kind == "wrong" and i % 3 == 0 else names[i]
                rows.writerow([f"{i}.png", f"a {said} picture"])
    return folder


def begun(data: Path, folder: Path, prior: str = "words") -> AbstractContextManager[Loop]:
    paths = [f"data.train={data}", "optim.batch_size=12", "runtime.threads=1", f"belief.prior={prior}"]
    return opened(override(preset_config("clip", "tiny"), paths), folder)


def test_wrong_captions_count_less_from_the_first_step_on(coloured: Path, tmp_path: Path) -> None:
    with begun(coloured / "wrong.csv", tmp_path / "run") as loop:
        weight = prior_of(loop.config, loop.parts, lambda *_: None)
        assert weight is not None
        assert weight.dtype == torch.float32
        said = [loop.parts.train.captions_of(i)[0] for i in range(COUNT)]
        wrong = torch.tensor([list(COLOURS)[i % len(COLOURS)] not in caption for i, caption in enumerate(said)])
        assert 40 < int(wrong.sum()) < 80
        assert float(weight[COUNT - 1]) == 1.0, "of what cannot be read nothing is known"
        assert float(weight[wrong].mean()) < 0.5 < 0.8 < float(weight[~wrong].mean())
        (batch,) = loop.parts.loader.batches(0, 1)
        with torch.no_grad():
            output = loop.network.forward_student(batch)
            logits = output.logit_scale * output.clean.image @ output.text.T
        own = weight[batch.rows] / weight[batch.rows].sum()
        pairs = torch.arange(len(logits))
        ways = [F.cross_entropy(one, pairs, reduction="none") @ own for one in (logits, logits.T)]
        assert float(loop.train_step(batch)["train/loss"]) == pytest.approx(float(sum(ways) / 2), rel=1e-3)


def test_where_captions_are_right_all_count_from_the_start(coloured: Path, tmp_path: Path) -> None:
    with begun(coloured / "right.csv", tmp_path / "run") as loop:
        weight = prior_of(loop.config, loop.parts, lambda *_: None)
        assert weight is not None
        assert float(weight.mean()) > 0.97
    with begun(coloured / "right.csv", tmp_path / "none", "none") as loop:
        assert prior_of(loop.config, loop.parts, lambda *_: None) is None


def test_of_shards_nothing_is_judged_beforehand() -> None:
    with pytest.raises(UserError, match=r"belief\.prior is words, and of shards not all pairs are at hand; set it to"):
        prior_of(config("belief.prior=words"), parts(sharded=True), lambda *_: None)
