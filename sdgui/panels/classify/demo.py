"""The next step that the empty Classify panel offers: classify with a demo run, or create the demo.

Flow: store and run folders -> `next_step` -> the empty page's sentence and button.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdgui.runs.demo import SHOWN_FIRST
from sdgui.runs.models import run_facts
from sdgui.store.records import StoreError
from sdgui.store.store import Store

PURPOSE = (
    "Evaluate a model on labelled images: accuracy with its interval, per-class accuracy, the confusion matrix and "
    "the most confident mistakes. Choose a model and labelled data above, or drop a folder with one subfolder per "
    "class here."
)
LABEL = "group"
TABLE = "unseen.csv"  # the only split with images of every group


@dataclass(frozen=True)
class DemoStep:
    """What to offer. ``run_id``, ``data``: a run that can classify now. ``make``: the demo can be created."""

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
            folder = demos[run.experiment_id]
            table = folder / TABLE
            if table.is_file() and run_facts(run.dir).steps:
                return DemoStep(PURPOSE, "Classify the demo's groups", run.id, str(table))
    except StoreError:
        return DemoStep(PURPOSE)
    if demos:
        return DemoStep(f"{PURPOSE} The demo's groups can be classified as soon as its run has saved a checkpoint.")
    return DemoStep(PURPOSE, "Try the demo", make=True)
