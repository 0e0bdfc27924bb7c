"""A new objective is one module and one config class: the form, the rules and the trainer find it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PySide6.QtWidgets import QApplication

from core.objectives.uniformity import Uniformity
from core.spec.config import RunConfig, override, problems
from core.spec.config.pairs import UniformityConfig
from core.spec.presets import preset_config
from core.spec.run.events import EventReader, Metrics
from core.spec.run.folder import RunDir
from core.training.train import train
from sdgui.shared.form.form import ConfigForm
from sdgui.widgets.style.theme import apply_theme
from tests.core.objectives.made_up import output_of
from tests.core.pictures import write_pairs


def test_the_loss_is_that_of_a_plain_loop() -> None:
    student = output_of(5, 4, 1)
    potentials = []
    for vectors in (student.clean.image, student.text):
        every = [torch.exp(-3 * ((vectors[i] - vectors[j]) ** 2).sum()) for i in range(5) for j in range(i)]
        potentials.append(torch.stack(every).mean().log())
    loss, _ = Uniformity(UniformityConfig(sharpness=3.0))(student, None)
    torch.testing.assert_close(loss, torch.stack(potentials).mean())


def test_the_form_shows_it(qapp: QApplication) -> None:
    apply_theme(qapp)
    form = ConfigForm()
    assert "objectives.uniformity.sharpness" in form.draft()
    form.deleteLater()


def test_its_contradiction_is_found() -> None:
    lonely = RunConfig.model_validate({"objectives": {"contrastive": {"weight": 0.0}, "uniformity": {"weight": 1.0}}})
    assert problems(lonely)["objectives.uniformity.weight"].startswith("Nothing holds pairs together")


def test_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGUI_CACHE_DIR", str(tmp_path / "cache"))
    data, _ = write_pairs(tmp_path / "pairs")
    settings = [f"data.train={data}", "optim.epochs=1", "optim.batch_size=12", "objectives.uniformity.weight=1"]
    run = RunDir(tmp_path / "run")
    assert train(override(preset_config("clip", "tiny"), settings), run, quiet=True) == "done"
    values = [event.values for event in EventReader(run.events).read_all() if isinstance(event, Metrics)]
    assert values[-1]["train/uniformity"] < 0
