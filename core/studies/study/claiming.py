"""Checks that a study may continue in a folder: it must contain the same study, possibly with fewer arms and seeds.

Runs are added only while the recipes of the existing runs are unchanged, so that no table compares two versions of a
preset.

Flow: ``core.studies.study.queue`` holds the folder's lock -> `claim` writes ``study.json``.
"""

from __future__ import annotations

from core.spec.config import ConfigError, RunConfig, differences, read_config, with_absolute_paths
from core.spec.errors import UserError
from core.spec.files import check_inside, write_whole
from core.spec.study import Arm, Study, StudyDir, read_study

_SET_PER_RUN = ("name", "seed", "optim.epochs", "data.train", "data.val")  # settings that the study sets for each run
_REMEDY = "Remove the arm's runs to train them again, or choose a new folder."


class StudyError(UserError):
    """A study that cannot be started or resumed."""


def check_folders(out: StudyDir, study: Study) -> None:
    """Raise StudyError if a path that the study writes is a link out of its folder."""
    runs = [
        path for arm in study.arms_to_train for seed in study.seeds for path in out.written_paths_of(arm.name, seed)
    ]
    check_inside(out.path, [*out.written_paths(), *runs], StudyError)


def claim(out: StudyDir, study: Study) -> None:
    """Write ``study.json``, after checking that ``study`` continues the study in the folder.

    Raises StudyError if it does not, or if the folder contains runs that were trained with a different recipe.
    """
    existing = read_study(out.study) if out.study.exists() else None
    if existing is not None:
        if not study.can_continue(existing):
            raise StudyError(
                f"{out.path} contains another study, or the training settings of the study have changed. Choose a new "
                "folder, or restore the study. Only measures, comparisons and the description may change; arms, seeds "
                "and data may be added."
            )
        _check_trained(out, study)
    if existing != study:
        write_whole(out.study, study.to_json().encode())


def _check_trained(out: StudyDir, study: Study) -> None:
    runs = [(arm, seed) for arm in study.arms_to_train for seed in study.seeds]
    if all(out.measures(arm.name, seed).exists() for arm, seed in runs):
        return  # no training is left
    for arm, seed in runs:
        run = out.run(arm.name, seed)
        try:
            changed = _changed_settings(study, arm, read_config(run.config)) if run.config.exists() else {}
        except ConfigError as error:
            raise StudyError(f"cannot read the config that {run.path} was trained with: {error} {_REMEDY}") from error
        if changed:
            name, (current, previous) = next(iter(changed.items()))
            remainder = f", and {len(changed) - 1} more fields" if len(changed) > 1 else ""
            raise StudyError(
                f"{run.path} was trained with {name}={previous}, but the arm {arm.name} now has {current}{remainder}, "
                f"since its preset or config has changed. {_REMEDY}"
            )


def _changed_settings(study: Study, arm: Arm, trained: RunConfig) -> dict[str, tuple[object, object]]:
    changes = differences(with_absolute_paths(study.recipe(arm)), trained)
    return {name: values for name, values in changes.items() if name not in _SET_PER_RUN}
