"""Whether a study may go on in a folder: the same study, or one that has grown by arms and seeds.

What is there already was trained by the recipes of its time. Runs are only added to it where those recipes are still
what the study says, so that no table compares two versions of a preset.

Flow: ``core.studies.study.queue`` holds the folder's lock -> ``claim`` -> ``study.json`` is the study's own.
"""

from __future__ import annotations

from core.spec.config import ConfigError, RunConfig, differences, read_config, with_absolute_paths
from core.spec.errors import UserError
from core.spec.files import check_inside, write_whole
from core.spec.study import Arm, Study, StudyDir, read_study

_OF_A_RUN = ("name", "seed", "optim.epochs", "data.train", "data.val")  # set for each run
_REMEDY = "Remove the arm's runs to train them again, or choose a new folder."


class StudyError(UserError):
    """A study that cannot be started or resumed."""


def check_folders(out: StudyDir, study: Study) -> None:
    """StudyError where a link leads out of the study's folder from where the study would write."""
    runs = [path for arm in study.trained for seed in study.seeds for path in out.written_of(arm.name, seed)]
    check_inside(out.path, [*out.written(), *runs], StudyError)


def claim(out: StudyDir, study: Study) -> None:
    """Write ``study.json``, or make sure that the folder holds a study that ``study`` goes on from.

    Raises StudyError when it does not, and when runs are to be trained beside ones of another recipe.
    """
    there = read_study(out.study) if out.study.exists() else None
    if there is not None:
        if not study.goes_on_from(there):
            raise StudyError(
                f"{out.path} holds another study, or one whose training has changed (measures, comparisons and "
                "description may change, and arms, seeds and data may be added); choose a new folder, or restore the "
                "study."
            )
        _check_trained(out, study)
    if there != study:
        write_whole(out.study, study.to_json().encode())


def _check_trained(out: StudyDir, study: Study) -> None:
    runs = [(arm, seed) for arm in study.trained for seed in study.seeds]
    if all(out.measures(arm.name, seed).exists() for arm, seed in runs):
        return  # nothing is trained any more
    for arm, seed in runs:
        run = out.run(arm.name, seed)
        try:
            changed = _changed(study, arm, read_config(run.config)) if run.config.exists() else {}
        except ConfigError as error:
            raise StudyError(
                f"the config that {run.path} was trained with cannot be read: {error} {_REMEDY}"
            ) from error
        if changed:
            name, (now, then) = next(iter(changed.items()))
            more = f", and {len(changed) - 1} more fields" if len(changed) > 1 else ""
            raise StudyError(
                f"{run.path} was trained with {name}={then}, and the arm {arm.name} now has {now}{more}: its preset or "
                f"config has changed since. {_REMEDY}"
            )


def _changed(study: Study, arm: Arm, trained: RunConfig) -> dict[str, tuple[object, object]]:
    found = differences(with_absolute_paths(study.recipe(arm)), trained)
    return {name: both for name, both in found.items() if name not in _OF_A_RUN}
