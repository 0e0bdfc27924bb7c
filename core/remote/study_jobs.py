"""Parses and prepares a study's jobs on this machine: train and evaluate one run, or measure the step time of one arm.

Flow: ``submit_study`` -> `write_study` writes the study, with complete configs of its arms, into a folder ->
``Starter`` starts ``core.studies.study.places.remote_main`` on it, directly or through sbatch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.reading import excerpt
from core.spec.run.folder import RunDir
from core.spec.study import VALID_NAME, StudyDir

_STUDIES_FOLDER = "studies"  # subfolder of the runs folder
_STUDY_FILE = re.compile(r"study\.json|arms/[0-9a-f]{8,64}\.json")
_MAX_CHARACTERS = 4 << 20


@dataclass(frozen=True)
class StudyTask:
    """A job of a study: its run folder, the program's arguments, and the result file that marks completion."""

    run: RunDir
    arguments: tuple[str, ...]
    result: str
    name: str  # name of the Slurm job


def parse_study_task(runs: Path, study: str, request: Sequence[str]) -> StudyTask:
    """The task ``request`` of the study called ``study``: ``run ARM SEED STEPS`` or ``step ARM ROUND``.

    Raises UserError for anything else, and for an invalid folder name.
    """
    kind, arm, *numbers = [*request, "", ""]
    numbers = [number for number in numbers if number]
    expected_count = {"run": 2, "step": 1}.get(kind)
    if expected_count != len(numbers) or not all(number.isdecimal() and len(number) < 20 for number in numbers):
        raise UserError(f"{excerpt(' '.join(request))} is not a job of a study; update sdgui.")
    for name in (study, arm):
        if not VALID_NAME.fullmatch(name):
            raise UserError(
                f"{excerpt(name)} is not a valid name for a study's folder; use only letters, digits, . _ -"
            )
    out = StudyDir(runs / _STUDIES_FOLDER / study)
    arguments = (kind, str(out.path), arm, *numbers)
    name = f"{study}:{arm}:{kind}{numbers[0]}"  # no name of a study or arm contains a colon, so names are unique
    if kind == "run":
        return StudyTask(out.run(arm, int(numbers[0])), arguments, "exports/measures.json", name)
    return StudyTask(RunDir(out.times / f"{arm}-{numbers[0]}"), arguments, "exports/step.json", name)


def write_study(runs: Path, study: str, files: Mapping[str, str]) -> None:
    """Write the study's files that are missing or differ. Raises UserError if that fails."""
    folder = runs / _STUDIES_FOLDER / study
    for name, text in files.items():
        if not _STUDY_FILE.fullmatch(name) or len(text) > _MAX_CHARACTERS:
            raise UserError(f"{excerpt(name)} is not a file of a study; update sdgui.")
        path = folder / name
        with writing(path, UserError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.read_bytes() != text.encode():
                write_whole(path, text.encode())
