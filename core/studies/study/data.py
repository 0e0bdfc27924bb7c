"""The data of a study: the user's files, and data made in the study's folder (demo data, noisy copies, small copies of
Debian's clip art).

Flow: ``core.studies.study.queue`` calls `prepare` once; every job calls `data_path`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.data.demo.openclipart import COUNTS_FILE, DEFAULT_SOURCE, missing_source_message, write_openclipart
from core.data.demo.openmoji import write_demo_data
from core.data.derived.noisy import write_noisy
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.study import DEMO, OPENCLIPART, NoiseSpec, Study, StudyDir

RENDERED = "openmoji"  # subfolder of ``data/`` with the rendered demo data

Log = Callable[[str], None]


def data_path(out: StudyDir, study: Study, name: str, seed: int) -> Path:
    """The path of the data set ``name`` for the run with ``seed``; noisy copies may differ between seeds.

    Relative paths were made absolute when the study started. Raises UserError if the clip art is not available.
    """
    if study.noise and name in (study.noise.name, study.noise.kept):
        draw = f"-s{seed}" if study.noise.seed is None else ""
        return _home(out, study) / f"{name}{draw}.csv"
    location = study.data[name]
    if location.startswith(OPENCLIPART):
        if not (openclipart_folder(out) / COUNTS_FILE).exists():
            raise UserError(missing_source_message())
        return openclipart_folder(out) / location.removeprefix(OPENCLIPART)
    return demo_folder(out) / location.removeprefix(DEMO) if location.startswith(DEMO) else expand_user(location)


def demo_folder(out: StudyDir) -> Path:
    """The files of the demo data that this study uses."""
    return out.data / RENDERED


def openclipart_folder(out: StudyDir) -> Path:
    """The files of the clip art that this study uses."""
    return out.data / "openclipart"


def _home(out: StudyDir, study: Study) -> Path:
    """The folder of noisy copies: the demo data's folder if the source is demo data, otherwise ``data/``."""
    assert study.noise is not None
    return demo_folder(out) if study.data[study.noise.of].startswith(DEMO) else out.data


def prepare(out: StudyDir, study: Study, log: Log, openclipart: Path | None = None) -> None:
    """Create the data that does not exist yet. Raises UserError if that fails.

    ``openclipart``: the folder of the clip art, by default the Debian package's; if it is missing, the clip art is
    left out.
    """
    if (
        any(location.startswith(DEMO) for location in study.data.values())
        and not (demo_folder(out) / "demo.json").exists()
    ):
        log("rendering the demo data")
        write_demo_data(demo_folder(out))
    if any(location.startswith(OPENCLIPART) for location in study.data.values()):
        _prepare_openclipart(openclipart_folder(out), openclipart, log)
    if study.noise is not None:
        for seed in study.seeds if study.noise.seed is None else [study.noise.seed]:
            _prepare_noise(out, study, study.noise, seed, log)


def _prepare_noise(out: StudyDir, study: Study, noise: NoiseSpec, seed: int, log: Log) -> None:
    noisy, clean = (data_path(out, study, name, seed) for name in (noise.name, noise.kept))
    if not (noisy.exists() and clean.exists()):
        source = data_path(out, study, noise.of, seed)
        rows, changed = write_noisy(source, noise.share, seed, noisy, clean, noise.kind, noise.within)
        if not changed:
            raise UserError(f"the noisy copy of {source} has no mismatched captions; raise noise.share.")
        log(f"{noisy}: {changed} of {rows} captions are mismatched ({noise.kind})")


def _prepare_openclipart(folder: Path, source: Path | None, log: Log) -> None:
    if (folder / COUNTS_FILE).exists():
        return
    if source is None and not DEFAULT_SOURCE.is_dir():
        log(missing_source_message())
        return
    write_openclipart(source or DEFAULT_SOURCE, folder, log)
