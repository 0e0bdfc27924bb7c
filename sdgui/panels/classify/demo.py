"""The next step that the empty Classify place offers: a trained demo run on the demo's own labels, or the demo.

Flow: store and run folders -> `next_step` -> the empty state's sentence and button.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdgui.runs.demo import SHOWN_FIRST
from sdgui.runs.models import run_facts
from sdgui.shared.services import Services
from sdgui.store.records import StoreError

PURPOSE = (
    "Classifies labelled pictures with a trained model: accuracy with its interval, every class, the confusion matrix, "
    "the most confident mistakes, and your own pictures. Choose a model and "
    "labelled data above, or drop a folder of class "
    "folders here."
)
LABEL = "group"
_TABLES = ("unseen.csv", "test.csv", "val.csv")


@dataclass(frozen=True)
class DemoStep:
    """``run_id`` and ``data``: a run that can classify now. ``make``: there is no demo yet, and it can be made."""

    text: str
    button: str = ""
    run_id: int | None = None
    data: str = ""
    make: bool = False


def next_step(services: Services) -> DemoStep:
    """What to offer now."""
    try:
        names = {one.id: one.name for one in services.store.experiments() if one.config is not None}
        folders = {
            one.id: Path(one.config.data.train).parent
            for one in services.store.experiments()
            if one.config is not None and one.config.data.train
        }
        runs = [run for run in services.store.runs() if run.experiment_id in folders]
    except StoreError:
        return DemoStep(PURPOSE)
    demos = [run for run in runs if (folders[run.experiment_id] / "demo.json").is_file()]
    for run in sorted(demos, key=lambda run: (names[run.experiment_id] != SHOWN_FIRST, -run.id)):
        folder = folders[run.experiment_id]
        table = next((folder / name for name in _TABLES if (folder / name).is_file()), None)
        if table is not None and run_facts(run.dir).steps:
            return DemoStep(PURPOSE, "Classify the demo's groups", run.id, str(table))
    if demos or any((folder / "demo.json").is_file() for folder in folders.values()):
        return DemoStep(f"{PURPOSE} The demo's groups can be classified as soon as its run has saved a checkpoint.")
    return DemoStep(PURPOSE, "Try the demo", make=True)
