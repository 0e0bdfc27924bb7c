"""From the names that a user gives to the places of a study, and what does not go together.

Flow: ``python -m core study STUDY OUT --on gpu here`` -> ``chosen_places`` -> the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.spec.errors import UserError
from core.spec.machines.machines import Machines
from core.spec.machines.remote_runs import RemoteRuns
from core.spec.study import Study, StudyDir
from core.spec.study.machines import HERE, StudyMachines, named, needs_one_machine, read_machines, write_machines
from core.studies.study.claiming import StudyError
from core.studies.study.places.local_place import Here
from core.studies.study.places.place import Place, trained_on
from core.studies.study.places.remote_place import Elsewhere, data_here


@dataclass(frozen=True)
class Where:
    """``on``: names of machines; none: where the study was before. ``home``: the folder that has their list."""

    on: Sequence[str] = ()
    home: Path | None = None
    jobs: int = 1  # at once on this computer
    devices: Sequence[str] = ()  # of this computer, in place of ``jobs``


@contextmanager
def chosen_places(study: Study, out: StudyDir, where: Where, log: Callable[[str], None]) -> Iterator[list[Place]]:
    """The places to train on, this computer first. StudyError for a mix that the study cannot have, and UserError for
    a machine that is not listed.
    """
    before = read_machines(out, study)
    chosen = StudyMachines(on=list(where.on) or before.on, folder=before.folder)
    here = Here(out, where.jobs, where.devices)
    if chosen.on in ([], [HERE]) and before.on in ([], [HERE]):
        _refuse_mix(study, out, [""], [""])
        yield [here]
        return
    if where.home is None:
        raise StudyError("the list of machines is in no known folder; give --home.")
    remote = RemoteRuns(Machines(where.home), lambda folder, sentence: log(f"{folder.name}: {sentence}"))
    try:
        known = [machine.name for machine in remote.machines.list.machines()]
        names = named(chosen.on, known)
        _refuse_mix(study, out, names, named(before.on, known))
        data = data_here(study)
        places: list[Place] = [here] if "" in names else []
        places += [Elsewhere(name, remote, study, out, chosen.folder, data) for name in names if name]
        write_machines(out, chosen)
        yield places
    finally:
        remote.close()


def _refuse_mix(study: Study, out: StudyDir, names: Sequence[str], before: Sequence[str]) -> None:
    if not needs_one_machine(study):
        return
    found = (_begun(out, arm.name, seed) for arm in study.trained for seed in study.seeds)
    begun = {name for name in found if name is not None}
    if any(out.times.glob("*.json")):
        begun |= set(before)
    told = ", ".join(name or HERE for name in dict.fromkeys([*names, *sorted(begun - set(names))]))
    if len(names) > 1:
        raise StudyError(f"this study compares arms at equal time, which one machine measures: choose one of {told}.")
    if begun - set(names):
        raise StudyError(
            f"this study compares arms at equal time, and has begun on {', '.join(sorted(n or HERE for n in begun))}: "
            "go on there, or begin it anew in another folder."
        )


def _begun(out: StudyDir, arm: str, seed: int) -> str | None:
    try:
        return trained_on(out.run(arm, seed))
    except UserError:
        return None
