"""A study's work on this machine: one run trained and evaluated, or one arm's step timed.

Flow: ``submit_study`` -> ``write_study`` puts the study, with its arms as they are defined where it was begun, into a
folder of its own -> ``Starter`` starts ``core.studies.study.places.remote_main`` on it, directly or through sbatch.
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
from core.spec.study import NAME, StudyDir

FOLDER = "studies"  # in the runs folder
_FILE = re.compile(r"study\.json|arms/[0-9a-f]{8,64}\.json")
_LARGEST = 4 << 20


@dataclass(frozen=True)
class StudyWork:
    """What is started: its run folder, the arguments of the program, and the file that it leaves when all is done."""

    run: RunDir
    words: tuple[str, ...]
    result: str
    name: str  # of a Slurm job


def study_work(runs: Path, study: str, what: Sequence[str]) -> StudyWork:
    """The work ``what`` of the study called ``study``: ``run ARM SEED STEPS`` or ``step ARM PART``.

    UserError for anything else, and for what is no name of a folder.
    """
    kind, arm, *numbers = [*what, "", ""]
    numbers = [one for one in numbers if one]
    wanted = {"run": 2, "step": 1}.get(kind)
    if wanted != len(numbers) or not all(one.isdecimal() and len(one) < 20 for one in numbers):
        raise UserError(f"{excerpt(' '.join(what))} is no work of a study; update sdgui.")
    for name in (study, arm):
        if not NAME.fullmatch(name):
            raise UserError(f"{excerpt(name)} cannot be the name of a study's folder; letters, digits, . _ - only.")
    out = StudyDir(runs / FOLDER / study)
    words, name = (kind, str(out.path), arm, *numbers), f"{study}-{arm}-{numbers[0]}"
    if kind == "run":
        return StudyWork(out.run(arm, int(numbers[0])), words, "exports/measures.json", name)
    return StudyWork(RunDir(out.times / f"{arm}-{numbers[0]}"), words, "exports/step.json", f"{name}-step")


def write_study(runs: Path, study: str, files: Mapping[str, str]) -> None:
    """The study's own files, where they are not yet what they are to be. UserError when the disk refuses."""
    folder = runs / FOLDER / study
    for name, text in files.items():
        if not _FILE.fullmatch(name) or len(text) > _LARGEST:
            raise UserError(f"{excerpt(name)} is no file of a study; update sdgui.")
        path = folder / name
        with writing(path, UserError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or path.read_bytes() != text.encode():
                write_whole(path, text.encode())
