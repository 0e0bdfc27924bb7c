"""Selects the arms and seeds of a study to train now; the other runs keep waiting in the same folder.

Flow: ``python -m core study STUDY OUT --only ARM ... --seeds N ...`` -> ``core.studies.study.queue``.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.spec.errors import nearest
from core.spec.study import Study, StudyRun
from core.studies.study.claiming import StudyError


@dataclass(frozen=True)
class RunSelection:
    """A selection: names of arms, with or without their budget (``clip``, ``clip-230s``), and seeds; empty for all."""

    arms: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    def check(self, study: Study) -> None:
        """Raise StudyError for an arm or a seed that ``study`` does not have."""
        names = {arm.name for arm in (*study.arms, *study.arms_to_train)}
        for name in self.arms:
            if name not in names:
                close = nearest(name, names, cutoff=0.4)
                hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(sorted(names))}."
                raise StudyError(f"the study has no arm '{name}'; {hint}")
        for seed in self.seeds:
            if seed not in study.seeds:
                raise StudyError(f"the study has no seed {seed}; available: {', '.join(map(str, study.seeds))}.")

    def has(self, study: Study, run: StudyRun) -> bool:
        """Whether ``run`` is selected."""
        has_arm = not self.arms or run.arm in self.arms or study.configured_arm(run.arm).name in self.arms
        return has_arm and (not self.seeds or run.seed in self.seeds)


ALL_RUNS = RunSelection()
