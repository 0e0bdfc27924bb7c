"""Study records of the store: the folder of each study, and the experiments that list the runs of its arms.

Flow: Study panel -> ``add_study``; the study watcher -> ``arm_experiment`` as runs appear; the tree reads ``studies``.
The config and results of a study are in its folder, so a folder from another computer can be added.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.spec.config import RunConfig
from sdgui.store.experiments import new_experiment
from sdgui.store.records import StoreError
from sdgui.store.registry.activity import record_activity
from sdgui.store.sessions import ON_HOST, Sessions, clean_name, owner_host_of
from sdgui.store.tables import ExperimentRow, RunRow, StudyArmRow, StudyRow


@dataclass(frozen=True)
class StudyRecord:
    """A listed study. ``arms``: experiment id -> the arm's name."""

    id: int
    name: str
    folder: Path
    created: float  # seconds since the epoch
    arms: Mapping[int, str] = field(default_factory=dict)
    owner_host: str = ""  # the computer that its folder is on; "" for this one

    @property
    def is_local(self) -> bool:
        """Whether its folder is on this computer."""
        return self.owner_host in ("", platform.node())


class StudyRecords(Sessions):
    """Reads and writes study records."""

    @property
    def studies_folder(self) -> Path:
        """The folder in which new studies are created."""
        return self.home / "studies"

    def studies(self) -> list[StudyRecord]:
        """Studies outside the bin, oldest first."""
        with self._read() as session:
            rows = session.scalars(select(StudyRow).where(StudyRow.deleted.is_(None)).order_by(StudyRow.id)).all()
            arms: dict[int, dict[int, str]] = {}
            for arm in session.scalars(select(StudyArmRow).order_by(StudyArmRow.experiment_id)):
                arms.setdefault(arm.study_id, {})[arm.experiment_id] = arm.arm
            return [self._study_record(row, arms.get(row.id, {})) for row in rows]

    def study(self, study_id: int) -> StudyRecord:
        """One study, in the bin or not. Raises StoreError for an unknown id."""
        with self._read() as session:
            row = _study_row(session, study_id)
            links = session.scalars(select(StudyArmRow).where(StudyArmRow.study_id == study_id))
            return self._study_record(row, {arm.experiment_id: arm.arm for arm in links})

    def add_study(self, folder: Path, name: str) -> StudyRecord:
        """Add the study in ``folder``; a known study keeps its id, even in the bin."""
        text, name = self._study_text(folder), clean_name(name)
        with self._write() as session:
            row = session.scalar(select(StudyRow).where(StudyRow.folder == text))
            if row is None:
                row = StudyRow(name=name, folder=text, created=time.time())
                session.add(row)
                session.flush()
                record_activity(session, "created the study", row)
            row.name, row.deleted = name, None
            study_id = row.id
        return self.study(study_id)

    def arm_colors(self, study_id: int) -> dict[str, int]:
        """Palette index of each arm's runs, by arm; without arms that have no runs."""
        runs = select(StudyArmRow.arm, func.min(RunRow.color)).join(
            RunRow, RunRow.experiment_id == StudyArmRow.experiment_id
        )
        with self._read() as session:
            rows = session.execute(runs.where(StudyArmRow.study_id == study_id).group_by(StudyArmRow.arm)).all()
        return {row[0]: row[1] for row in rows}

    def arm_experiment(self, study_id: int, arm: str, config: RunConfig) -> int:
        """The id of the experiment of ``arm``, created from ``config`` if it does not exist."""
        with self._write() as session:  # another window may be following the same study
            _study_row(session, study_id)
            of_arm = select(StudyArmRow.experiment_id).where(StudyArmRow.study_id == study_id, StudyArmRow.arm == arm)
            if (existing := session.scalars(of_arm).first()) is not None:
                return existing
            experiment = new_experiment(session, config.to_json(), clean_name(arm))
            session.add(StudyArmRow(experiment_id=experiment.id, study_id=study_id, arm=arm))
            return experiment.id

    def move_study(self, study_id: int, folder: Path) -> StudyRecord:
        """Record that a study and its runs have moved to ``folder``."""
        with self._write() as session:
            row = _study_row(session, study_id)
            old_path = self._study_path(row.folder)
            other_id = session.scalar(select(StudyRow.id).where(StudyRow.folder == self._study_text(folder)))
            if other_id is not None and other_id != study_id:
                raise StoreError(f"{folder} is already listed as another study; select that one.")
            row.folder = self._study_text(folder)
            arms = select(StudyArmRow.experiment_id).where(StudyArmRow.study_id == study_id)
            for run in session.scalars(select(RunRow).where(RunRow.experiment_id.in_(arms))):
                path = Path(os.path.normpath(self._folder_path(run.folder)))
                if path.is_relative_to(old_path):
                    run.folder = self._folder_text(folder.absolute() / path.relative_to(old_path))
        return self.study(study_id)

    def delete_study(self, study_id: int) -> None:
        """Move a study and its experiments to the bin; the folder is kept."""
        self._set_deleted(study_id, time.time())

    def restore_study(self, study_id: int) -> None:
        """Restore a study and the experiments that were moved to the bin with it."""
        self._set_deleted(study_id, None)

    def _set_deleted(self, study_id: int, when: float | None) -> None:
        with self._write() as session:
            study = _study_row(session, study_id)
            binned_with_study = ExperimentRow.deleted.is_not_distinct_from(study.deleted)
            study.deleted = when
            record_activity(session, "restored the study" if when is None else "deleted the study", study)
            arms = select(StudyArmRow.experiment_id).where(StudyArmRow.study_id == study_id)
            session.execute(
                update(ExperimentRow).where(ExperimentRow.id.in_(arms), binned_with_study).values(deleted=when)
            )

    def _study_text(self, folder: Path) -> str:
        folder, home = folder.absolute(), self.home.absolute()
        if self.shared:
            return self._folder_text(folder)
        return folder.relative_to(home).as_posix() if folder.is_relative_to(home) else str(folder)

    def _study_path(self, text: str) -> Path:
        path = text.partition(ON_HOST)[2] if ON_HOST in text else text
        return self.home.absolute() / path  # an absolute path is not changed

    def _study_record(self, row: StudyRow, arms: Mapping[int, str]) -> StudyRecord:
        return StudyRecord(row.id, row.name, self._study_path(row.folder), row.created, arms, owner_host_of(row.folder))


def _study_row(session: Session, study_id: int) -> StudyRow:
    row = session.get(StudyRow, study_id)
    if row is None:
        raise StoreError(f"Study {study_id} does not exist: it was deleted.")
    return row
