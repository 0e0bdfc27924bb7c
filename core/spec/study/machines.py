"""The machines of a study: ``machines.json`` in its folder, shared by the window and the command line.

Flow: the machines selected in the window, or ``--on`` -> **machines** -> ``core.studies.study.places``; a resumed study
uses the same machines unless others are selected.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.machine import LOCAL
from core.spec.reading import KILOBYTE, read_json, validate
from core.spec.run.folder import slug
from core.spec.study.config import MAX_ITEMS, Study
from core.spec.study.folder import StudyDir

THIS_COMPUTER = "here"  # the name for this computer
ANY_MACHINE = "any"  # the name for this computer and every listed machine
MACHINES_FILE = "machines.json"


class StudyMachines(BaseModel):
    """The machines of a study. ``on``: names of machines, `THIS_COMPUTER` or `ANY_MACHINE`; empty for this computer.

    ``folder``: the name of the study's folder on other machines.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    on: list[Annotated[str, Field(max_length=100)]] = Field([], max_length=MAX_ITEMS)
    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")]


def read_machines(out: StudyDir, study: Study) -> StudyMachines:
    """The machines of the study; by default, this computer and a new remote name. Raises UserError for a bad file."""
    path = out.path / MACHINES_FILE
    try:
        raw = read_json(path, 256 * KILOBYTE, root=out.path)
    except FileNotFoundError:
        return StudyMachines(folder=f"{slug(study.name, 'study')}-{secrets.token_hex(4)}")
    return validate(StudyMachines, raw, str(path), remedy="Remove the file and choose the machines again.")


def write_machines(out: StudyDir, machines: StudyMachines) -> None:
    """Write the machines of the study. Raises UserError if the file cannot be written."""
    path = out.path / MACHINES_FILE
    with writing(path, UserError):
        write_whole(path, json.dumps(machines.model_dump(), ensure_ascii=False).encode())


def needs_one_machine(study: Study) -> bool:
    """Whether arms are compared at equal compute, which needs one machine: a second differs between machines."""
    return bool(study.budgets) or any(arm.budget for arm in study.arms)


def trains_here(on: Sequence[str]) -> bool:
    """Whether ``on`` includes this computer."""
    return "" in select_machines(on, ())


def select_machines(on: Sequence[str], known_names: Iterable[str]) -> list[str]:
    """The names of the machines that ``on`` selects from ``known_names``; "" (this computer) comes first."""
    selected = {"" if name in (THIS_COMPUTER, LOCAL) else name for name in on} or {""}
    if ANY_MACHINE in selected:
        selected = (selected - {ANY_MACHINE}) | {"", *known_names}
    return sorted(selected, key=lambda name: (name != "", on.index(name) if name in on else len(on), name))
