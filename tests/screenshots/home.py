"""The home that is photographed: a study of three arms on the demo's pictograms, trained by its own program.

Flow: ``trained_study`` adds the study to the window's store, starts it and waits -> `tests.screenshots.scenes`. A home
in which it is done already is used as it is; one that was interrupted goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.spec.presets import Size
from core.spec.study import Arm, Measure, NoiseSpec, Study, StudyDir
from sdgui.app.main_window import MainWindow
from tests.screenshots.waiting import until

NAME = "wrong captions"
_HOURS = 6 * 3600.0
_DATA = ("train", "val", "test")
ARMS = ("clip", "sd-clip", "sd-coca")


def study_of(steps: int, seeds: int, size: Size) -> Study:
    """30 % of the captions are another image's; a plain model, and two that teach themselves."""
    test = Measure(name="test", task="retrieval", data="test", keep=["R@1", "R@10"])
    return Study(
        name=NAME,
        about="Self-distillation where 30 % of the training captions are another image's.",
        size=size,
        steps=steps,
        seeds=list(range(seeds)),
        data={name: f"demo:{name}.csv" for name in _DATA},
        noise=NoiseSpec(of="train", share=0.3),
        train="noisy",
        set=[f"validation.every_steps={max(1, steps // 9)}"],
        arms=[Arm(name=name, preset=name) for name in ARMS],
        measures=[test],
    )


@dataclass(frozen=True)
class TrainedStudy:
    """A study that is done, in the store of a window."""

    id: int
    folder: Path

    @property
    def images(self) -> list[Path]:
        """Held-out images, in the order of their table."""
        table = self.data("val")
        lines = table.read_text(encoding="utf-8").splitlines()[1:]
        return [table.parent / line.partition(",")[0] for line in lines]

    def data(self, name: str) -> Path:
        """A table of the rendered demo data, such as ``val``; ``noisy`` is the training data."""
        return StudyDir(self.folder).data / "openmoji" / f"{name}.csv"

    def run_folder(self, arm: str) -> Path:
        """The run of ``arm`` with the first seed."""
        return StudyDir(self.folder).run(arm, 0).path


def trained_study(window: MainWindow, wanted: Study, progress: Callable[[str], None]) -> TrainedStudy:
    """The study ``wanted`` in the home of ``window``, trained where it is not yet.

    Raises RuntimeError when one of its runs fails.
    """
    programs, store = window.services.studies, window.services.store
    record = next((one for one in store.studies() if one.name == NAME), None) or programs.add(wanted)
    until(lambda: programs.snapshot(record.id) is not None, "the study's folder")
    told = [0.0]

    def done() -> bool:
        found = programs.snapshot(record.id)
        if found is None or found.state == "failed":
            raise RuntimeError(f"the study failed: {found.stderr if found is not None else ''}")
        if time.monotonic() - told[0] > 30:
            told[0] = time.monotonic()
            steps_done = ", ".join(f"{run.arm} {run.step}" for run in found.runs if run.state == "training")
            progress(f"{found.done} of {len(found.runs)} runs trained {steps_done}")
        return found.state == "done" and found.results is not None

    if not done():
        programs.start(record.id)
        until(done, "the study", _HOURS)
    return listed_study(window, record.folder)


def listed_study(window: MainWindow, folder: Path) -> TrainedStudy:
    """The study in ``folder``, which is done, with its runs in the tree."""
    programs, store = window.services.studies, window.services.store
    record = programs.open(folder)
    until(lambda: programs.snapshot(record.id) is not None, "the study's folder")
    found = programs.snapshot(record.id)
    assert found is not None
    until(lambda: len(store.runs()) >= len(found.runs), "the runs in the tree")
    window.reload()
    return TrainedStudy(record.id, record.folder)
