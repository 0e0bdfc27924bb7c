"""The next step that the empty Classify panel offers: classify the demo's images, or create the demo.

Flow: store and run folders -> `next_step` -> the empty page's sentence and button.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdgui.runs.demo import SHOWN_FIRST
from sdgui.runs.models import run_facts
from sdgui.store.records import StoreError
from sdgui.store.store import Store

PANEL_PURPOSE = (
    "Evaluate a model on labelled images: accuracy with its interval, per-class accuracy, the confusion matrix and "
    "the most confident mistakes. Choose a model and labelled data above, or drop a folder with one subfolder per "
    "class here."
)
DEMO_BUTTON = "Classify the demo's groups"
DEMO_LABEL = "group"
DEMO_TABLE = "unseen.csv"  # the only split with images of every group


@dataclass(frozen=True)
class DemoStep:
    """What to offer. ``data``: a table of the demo that can be classified now, with ``run_id`` (default: the chosen
    model). ``make``: the demo can be created.
    """

    text: str
    button: str = ""
    run_id: int | None = None
    data: str = ""
    make: bool = False


def next_step(store: Store) -> DemoStep:
    """Find what to offer; reads the store and files, so call this in a background thread."""
    try:
        experiments = store.experiments()
        names = {experiment.id: experiment.name for experiment in experiments}
        folders = {
            experiment.id: Path(experiment.config.data.train).parent
            for experiment in experiments
            if experiment.config is not None and experiment.config.data.train
        }
        demos = {number: folder for number, folder in folders.items() if (folder / "demo.json").is_file()}
        runs = [run for number in demos for run in store.runs(number)]
        for run in sorted(runs, key=lambda run: (names[run.experiment_id] != SHOWN_FIRST, -run.id)):
            table = demos[run.experiment_id] / DEMO_TABLE
            if table.is_file() and run_facts(run.dir).steps:
                return DemoStep(PANEL_PURPOSE, DEMO_BUTTON, run.id, str(table))
    except StoreError:
        return DemoStep(PANEL_PURPOSE)
    tables = [folder / DEMO_TABLE for folder in demos.values() if (folder / DEMO_TABLE).is_file()]
    if tables:
        return DemoStep(PANEL_PURPOSE, DEMO_BUTTON, data=str(tables[0]))
    return DemoStep(PANEL_PURPOSE, "Try the demo", make=True)
