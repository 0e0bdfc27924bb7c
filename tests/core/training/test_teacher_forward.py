"""The teacher's forward pass: made where something reads it, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.objectives.build import Objectives
from core.spec.config import override
from core.teacher.ema import EmaTeacher
from tests.core.training.test_accumulation import data, gradients
from tests.core.variants import variant_config

__all__ = ["data"]  # the fixture

AVERAGED = ("teacher.kind=ema", "teacher.momentum=0.95", "views.teacher.count=0")
LABELLED = ("data.label=group", "data.labels_per_class=2", "data.unlabelled_ratio=2", "optim.batch_size=2")


@pytest.mark.parametrize(
    ("preset", "settings", "asked"),
    [
        ("clip", [*AVERAGED, "noise.self_confidence=0.5"], False),
        ("sd-clip-every-step", [], True),
        ("fixmatch", [*LABELLED, "teacher.kind=ema", "objectives.consistency.guess=student"], False),
        ("fixmatch", [*LABELLED, "teacher.kind=ema", "objectives.consistency.guess=teacher"], True),
        ("albef", ["objectives.distill_similarity.weight=0"], True),  # masked words
    ],
)
def test_the_teacher_runs_only_where_an_objective_needs_it(
    preset: str, settings: list[str], asked: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    plain, calls = EmaTeacher.targets, []

    def targets(*arguments: object) -> object:
        calls.append(True)
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(EmaTeacher, "targets", targets)
    config = override(variant_config(preset), settings)
    loss, found = gradients(data, tmp_path / "run", config, 0)
    assert bool(calls) == asked
    if not asked:  # and it changes nothing
        monkeypatch.setattr(Objectives, "need_teacher", True)
        always, expected = gradients(data, tmp_path / "always", config, 0)
        assert calls
        assert loss == always
        assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
