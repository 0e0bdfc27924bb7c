"""The data that a study names: files of the user's, rendered demo data, and noisy copies made in the study's folder.

Flow: ``core.study.queue`` calls ``prepare`` once; every job asks ``data_path``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.data.openmoji import write_demo_data
from core.errors import UserError
from core.study.format import DEMO, Study, StudyDir
from core.study.noisy import write_noisy

RENDERED = "openmoji"  # folder of the rendered demo data, under ``data/``

Log = Callable[[str], None]


def data_path(out: StudyDir, study: Study, name: str) -> Path:
    """Where the data called ``name`` lie; relative paths were made absolute when the study was begun."""
    if study.noise and name in (study.noise.name, study.noise.kept):
        return _home(out, study) / f"{name}.csv"
    where = study.data[name]
    return demo_folder(out) / where.removeprefix(DEMO) if where.startswith(DEMO) else Path(where).expanduser()


def demo_folder(out: StudyDir) -> Path:
    """The demo data that this study uses."""
    return out.data / RENDERED


def _home(out: StudyDir, study: Study) -> Path:
    """Where noisy copies go: beside rendered data, which are the study's own; else into ``data/``."""
    assert study.noise is not None
    return demo_folder(out) if study.data[study.noise.of].startswith(DEMO) else out.data


def prepare(out: StudyDir, study: Study, log: Log) -> None:
    """Render and write what is not there yet. Raises UserError when the data cannot be had."""
    if any(where.startswith(DEMO) for where in study.data.values()) and not (demo_folder(out) / "demo.json").exists():
        log("rendering the demo data")
        write_demo_data(demo_folder(out))
    if study.noise is None:
        return
    noisy, kept = (data_path(out, study, name) for name in (study.noise.name, study.noise.kept))
    if not (noisy.exists() and kept.exists()):
        source = data_path(out, study, study.noise.of)
        rows, wrong = write_noisy(source, study.noise.share, study.noise.seed, noisy, kept)
        if not wrong:
            raise UserError(f"the noisy copy of {source} has no wrong caption; raise noise.share.")
        log(f"{noisy}: {wrong} of {rows} captions are another row's")


def absolute(study: Study, folder: Path) -> Study:
    """The study with its files' paths made absolute, relative to ``folder``."""

    def settled(where: str) -> str:
        path = Path(where).expanduser()
        return where if where.startswith(DEMO) or path.is_absolute() else str((folder / path).absolute())

    data = {name: settled(where) for name, where in study.data.items()}
    arms = [arm.model_copy(update={"config": settled(arm.config)}) if arm.config else arm for arm in study.arms]
    return study.model_copy(update={"data": data, "arms": arms})
