"""The next step that the empty Classify panel offers: classify the demo's images, or create the demo.

Flow: store and run folders -> `next_step` -> the empty page's button.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdgui.runs.demo import SHOWN_FIRST
from sdgui.runs.models import run_facts
from sdgui.store.records import StoreError
from sdgui.store.store import Store

DEMO_BUTTON = "Classify the demo's groups"
DEMO_LABEL = "group"
DEMO_TABLE = "unseen.csv"  # the only split with images of every group


@dataclass(frozen=True)
class DemoStep:
    """The step that ``button`` takes; "" if there is none. ``make``: the step creates the demo.

    ``data``: a table of the demo that can be classified now, with ``run_id`` or, if this is None, the chosen model.
    """

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
                return DemoStep(DEMO_BUTTON, run.id, str(table))
    except StoreError:
        return DemoStep()
    tables = [folder / DEMO_TABLE for folder in demos.values() if (folder / DEMO_TABLE).is_file()]
    if tables:
        return DemoStep(DEMO_BUTTON, data=str(tables[0]))
    return DemoStep("Try the demo", make=True)
