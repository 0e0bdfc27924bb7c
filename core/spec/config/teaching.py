"""Which steps a teacher teaches in, and which need the further views: a plan that loader and trainer read alike.

Flow: config -> ``teaching`` -> the loader leaves out views that a step does not need, and
``core.training.train_step`` what learns from a teacher that does not teach in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.spec.config.experiment import RunConfig


@dataclass(frozen=True)
class Teaching:
    """The steps of a run, numbered from 1, in which its teacher teaches."""

    every: int  # it teaches in those whose number is a multiple of this
    untaught_views: bool  # whether a loss that needs no teacher reads the student's further views

    def taught(self, step: int) -> bool:
        """Whether a teacher, where there is one, teaches in ``step``."""
        return step % self.every == 0

    def needs_views(self, step: int) -> bool:
        """Whether ``step`` needs the student's further views."""
        return self.untaught_views or self.taught(step)

    def reported(self, step: int, interval: int) -> bool:
        """Whether ``step`` is reported, once in ``interval`` steps.

        Where the teacher teaches now and then, it is in a step that it teaches in, so that reports are of the same
        losses; unless they are closer than that.
        """
        if interval < self.every:
            return step % interval == 0
        return self.taught(step) and step % interval < self.every


def teaching(config: RunConfig) -> Teaching:
    """The plan of ``config``; without a teacher every step is alike."""
    teacher = config.teacher
    if not teacher.traits.exists:
        return Teaching(1, untaught_views=True)
    read = any(one.weight > 0 and one.reads_views() and not one.learns_from_teacher for _, one in config.objectives)
    return Teaching(teacher.every, untaught_views=read)
