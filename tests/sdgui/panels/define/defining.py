"""What tests of the Define panel share."""

from __future__ import annotations

from typing import Any

import pytest

from core.spec.config import override
from core.spec.presets import preset_config
from sdgui.panels.define.panel import DefinePanel
from sdgui.shared.services import Selection, Services
from sdgui.store.records import Experiment, StoreError


def stored(services: Services, experiment: int) -> Experiment:
    """The experiment, once the store has what was submitted."""
    services.writer.wait()
    return services.store.experiment(experiment)


def show(define: DefinePanel, services: Services, preset: str, *settings: str) -> int:
    experiment = services.store.add_experiment(override(preset_config(preset, "demo"), list(settings)), preset)
    define.select(Selection(experiment.id))
    return experiment.id


def refuse_once(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next edit of an experiment is not written."""
    edit, refused = services.store.edit_experiment, [True]

    def held(*args: Any) -> Any:
        if refused.pop() if refused else False:
            raise StoreError("The database is locked by another program.")
        return edit(*args)

    monkeypatch.setattr(services.store, "edit_experiment", held)
