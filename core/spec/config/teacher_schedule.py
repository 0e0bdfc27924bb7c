"""Plans which steps use the teacher and which need additional views; shared by loader and trainer.

Flow: config -> ``teacher_schedule`` -> the loader omits views that a step does not need, and
``core.training.train_step`` omits objectives whose teacher is not used in the step.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.spec.config.experiment import RunConfig


@dataclass(frozen=True)
class TeacherSchedule:
    """The steps of a run, numbered from 1, that use its teacher."""

    every: int  # the teacher is used in steps that are multiples of this number
    views_without_teacher: bool  # whether an objective without a teacher reads the student's additional views

    def is_active(self, step: int) -> bool:
        """Whether ``step`` uses the teacher, if the run has one."""
        return step % self.every == 0

    def needs_views(self, step: int) -> bool:
        """Whether ``step`` needs the student's additional views."""
        return self.views_without_teacher or self.is_active(step)

    def is_logged(self, step: int, interval: int) -> bool:
        """Whether the metrics of ``step`` are logged: once in ``interval`` steps.

        If only some steps use the teacher, the first such step of each interval is logged, so that all logged steps
        have the same losses. If ``interval`` is shorter than ``every``, steps without the teacher are logged too.
        """
        if interval < self.every:
            return step % interval == 0
        return self.is_active(step) and step % interval < self.every


EVERY_STEP = TeacherSchedule(1, views_without_teacher=True)


def teacher_schedule(config: RunConfig) -> TeacherSchedule:
    """The plan of ``config``; `EVERY_STEP` without a teacher."""
    teacher = config.teacher
    if not teacher.traits.exists:
        return EVERY_STEP
    views_without_teacher = any(
        objective.weight > 0 and objective.reads_additional_views() and not objective.learns_from_teacher
        for _, objective in config.objectives
    )
    return TeacherSchedule(teacher.every, views_without_teacher)
