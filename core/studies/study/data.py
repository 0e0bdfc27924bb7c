"""The data that a study names: files of the user's, and what is made in the study's folder: demo data, noisy copies,
small copies of Debian's clip art.

Flow: ``core.studies.study.queue`` calls ``prepare`` once; every job asks ``data_path``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.data.demo.openclipart import FACTS, USUAL, missing, write_openclipart
from core.data.demo.openmoji import write_demo_data
from core.data.derived.noisy import write_noisy
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.study import DEMO, OPENCLIPART, NoiseSpec, Study, StudyDir

RENDERED = "openmoji"  # folder of the rendered demo data, under ``data/``

Log = Callable[[str], None]


def data_path(out: StudyDir, study: Study, name: str, seed: int) -> Path:
    """Where the data called ``name`` lie for the run with ``seed``, which may have a noisy copy of its own.

    Relative paths were made absolute when the study was begun. Raises UserError for clip art that was not to be had.
    """
    if study.noise and name in (study.noise.name, study.noise.kept):
        draw = f"-s{seed}" if study.noise.seed is None else ""
        return _home(out, study) / f"{name}{draw}.csv"
    where = study.data[name]
    if where.startswith(OPENCLIPART):
        if not (openclipart_folder(out) / FACTS).exists():
            raise UserError(missing())
        return openclipart_folder(out) / where.removeprefix(OPENCLIPART)
    return demo_folder(out) / where.removeprefix(DEMO) if where.startswith(DEMO) else expand_user(where)


def demo_folder(out: StudyDir) -> Path:
    """The demo data that this study uses."""
    return out.data / RENDERED


def openclipart_folder(out: StudyDir) -> Path:
    """The clip art that this study uses."""
    return out.data / "openclipart"


def _home(out: StudyDir, study: Study) -> Path:
    """Where noisy copies go: beside rendered data, which are the study's own; else into ``data/``."""
    assert study.noise is not None
    return demo_folder(out) if study.data[study.noise.of].startswith(DEMO) else out.data


def prepare(out: StudyDir, study: Study, log: Log, openclipart: Path | None = None) -> None:
    """Render and write what is not there yet. Raises UserError when the data cannot be had.

    ``openclipart``: the folder to take clip art from; by default the package's, and where that is not, none is had.
    """
    if any(where.startswith(DEMO) for where in study.data.values()) and not (demo_folder(out) / "demo.json").exists():
        log("rendering the demo data")
        write_demo_data(demo_folder(out))
    if any(where.startswith(OPENCLIPART) for where in study.data.values()):
        _prepare_openclipart(openclipart_folder(out), openclipart, log)
    if study.noise is not None:
        for seed in study.seeds if study.noise.seed is None else [study.noise.seed]:
            _prepare_noise(out, study, study.noise, seed, log)


def _prepare_noise(out: StudyDir, study: Study, asked: NoiseSpec, seed: int, log: Log) -> None:
    noisy, kept = (data_path(out, study, name, seed) for name in (asked.name, asked.kept))
    if not (noisy.exists() and kept.exists()):
        source = data_path(out, study, asked.of, seed)
        rows, wrong = write_noisy(source, asked.share, seed, noisy, kept, asked.kind, asked.within)
        if not wrong:
            raise UserError(f"the noisy copy of {source} has no wrong captions; raise noise.share.")
        log(f"{noisy}: {wrong} of {rows} captions are wrong ({asked.kind})")


def _prepare_openclipart(folder: Path, source: Path | None, log: Log) -> None:
    if (folder / FACTS).exists():
        return
    if source is None and not USUAL.is_dir():
        log(missing())
        return
    write_openclipart(source or USUAL, folder, log)
