"""On which machines a study is trained: ``machines.json`` in its folder, which window and verb share.

Flow: the machines chosen in the window, or ``--on`` -> **machines** -> ``core.studies.study.places``; a study that is
started again goes on where it was, unless others are chosen.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from core.spec.errors import UserError, writing
from core.spec.files import write_whole
from core.spec.machines.machine import LOCAL
from core.spec.reading import KILOBYTE, checked, read_json
from core.spec.study.config import MOST, Study
from core.spec.study.folder import StudyDir

HERE = "here"  # this computer, among names of machines
ANY = "any"  # this computer and every machine of the list
FILE = "machines.json"


class StudyMachines(BaseModel):
    """``on``: names of machines, `HERE` and `ANY`; none named is this computer. ``folder``: the study's name there."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    on: list[Annotated[str, Field(max_length=100)]] = Field([], max_length=MOST)
    folder: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,60}$")]


def read_machines(out: StudyDir, study: Study) -> StudyMachines:
    """What was chosen; this computer, and a new name elsewhere, where nothing was. UserError for a wrong file."""
    path = out.path / FILE
    try:
        raw = read_json(path, 256 * KILOBYTE, root=out.path)
    except FileNotFoundError:
        slug = re.sub(r"[^a-z0-9]+", "-", study.name.lower()).strip("-")[:40].strip("-") or "study"
        return StudyMachines(folder=f"{slug}-{secrets.token_hex(4)}")
    return checked(StudyMachines, raw, str(path), remedy="Remove it and choose the machines again.")


def write_machines(out: StudyDir, chosen: StudyMachines) -> None:
    """UserError when the disk refuses."""
    path = out.path / FILE
    with writing(path, UserError):
        write_whole(path, json.dumps(chosen.model_dump(), ensure_ascii=False).encode())


def needs_one_machine(study: Study) -> bool:
    """Whether arms are compared at equal time: seconds of different machines are not the same budget."""
    return bool(study.budgets) or any(arm.budget or arm.as_long_as for arm in study.arms)


def trains_here(on: Sequence[str]) -> bool:
    """Whether this computer is among the machines that ``on`` means."""
    return "" in named(on, ())


def named(on: Sequence[str], known: Iterable[str]) -> list[str]:
    """The machines that ``on`` means, of those ``known``; "" is this computer. Each once, this computer first."""
    wanted = {"" if one in (HERE, LOCAL) else one for one in on} or {""}
    if ANY in wanted:
        wanted = (wanted - {ANY}) | {"", *known}
    return sorted(wanted, key=lambda name: (name != "", on.index(name) if name in on else len(on), name))
