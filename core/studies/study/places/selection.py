"""Selects the places of a study from the machine names that a user specifies.

Flow: ``python -m core study STUDY OUT --on gpu here`` -> `open_places` -> the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.spec.machines.machines import Machines
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.study import Study, StudyDir
from core.spec.study.machines import (
    THIS_COMPUTER,
    StudyMachines,
    needs_one_machine,
    read_machines,
    select_machines,
    write_machines,
)
from core.studies.study.claiming import StudyError
from core.studies.study.places.local_place import LocalPlace
from core.studies.study.places.place import Place, known_machine
from core.studies.study.places.remote_place import RemotePlace, local_data

MAX_JOBS = 1000


@dataclass(frozen=True)
class PlaceOptions:
    """``machines``: names; empty for the machines of the last start. ``home``: the folder with the list of machines."""

    machines: Sequence[str] = ()
    home: Path | None = None
    jobs: int = 1  # number of parallel processes on this computer
    devices: Sequence[str] = ()  # GPUs of this computer to use, instead of ``jobs``


@contextmanager
def open_places(
    study: Study, out: StudyDir, options: PlaceOptions, log: Callable[[str], None]
) -> Iterator[list[Place]]:
    """The places to train on, this computer first.

    Raises StudyError for several machines when the study needs one or for an impossible number of jobs on this
    computer, and UserError for a machine that is not listed.
    """
    before = read_machines(out, study)
    chosen_machines = StudyMachines(on=list(options.machines) or before.on, folder=before.folder)
    if chosen_machines.on in ([], [THIS_COMPUTER]) and before.on in ([], [THIS_COMPUTER]):
        _check_one_machine(study, out, [""], [""])  # "": this computer, as from ``select_machines``
        yield [_local_place(out, options)]
        return
    if options.home is None:
        raise StudyError("the folder with the list of machines is unknown; specify it with --home.")
    remote = RemoteRuns(Machines(options.home), lambda folder, sentence: log(f"{folder.name}: {sentence}"))
    try:
        machine_names = [machine.name for machine in remote.machines.list.machines()]
        names = select_machines(chosen_machines.on, machine_names)
        _check_one_machine(study, out, names, select_machines(before.on, machine_names))
        known_data = local_data(study)
        places: list[Place] = [_local_place(out, options)] if "" in names else []
        places += [RemotePlace(name, remote, study, out, chosen_machines.folder, known_data) for name in names if name]
        write_machines(out, chosen_machines)
        yield places
    finally:
        remote.close()


def _local_place(out: StudyDir, options: PlaceOptions) -> LocalPlace:
    if not options.devices and not 1 <= options.jobs <= MAX_JOBS:
        raise StudyError(f"{options.jobs} parallel runs are not possible; use 1 to {MAX_JOBS}.")
    return LocalPlace(out, options.jobs, options.devices)


def _check_one_machine(study: Study, out: StudyDir, names: Sequence[str], before: Sequence[str]) -> None:
    """Raise StudyError if ``study`` needs one machine, but ``names``, or runs and step times so far, are of several.

    ``before``: the machines of the last start.
    """
    if not needs_one_machine(study):
        return
    machines = (known_machine(out.run(arm.name, seed)) for arm in study.arms_to_train for seed in study.seeds)
    used_machines = {name for name in machines if name is not None}
    if any(out.times.glob("*.json")):
        used_machines |= set(before)
    names_text = ", ".join(
        name or THIS_COMPUTER for name in dict.fromkeys([*names, *sorted(used_machines - set(names))])
    )
    if len(names) > 1:
        raise StudyError(
            f"this study compares arms at equal compute, so it needs a single machine; choose one of {names_text}."
        )
    if used_machines - set(names):
        raise StudyError(
            "this study compares arms at equal compute, and was started on "
            f"{', '.join(sorted(n or THIS_COMPUTER for n in used_machines))}; continue on the same "
            "machine, or start the study in another folder."
        )
