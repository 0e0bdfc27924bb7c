"""Run folders as a trainer leaves them, and experiments as arms of a study."""

from __future__ import annotations

from core.spec.run.events import EventWriter, Metrics, RunFinished, RunStarted
from sdgui.store.records import Run
from sdgui.store.store import Store
from sdgui.store.tables import StudyArmRow


def make_folder(run: Run, store: Store, steps: int = 3) -> None:
    config = store.experiment(run.experiment_id).config
    assert config is not None
    run.dir.create()
    run.dir.config.write_text(config.to_json(), encoding="utf-8")
    writer = EventWriter(run.dir.events)
    writer.write(RunStarted(step=0, total_steps=steps, config_digest=run.digest))
    for step in range(1, steps + 1):
        writer.write(Metrics(step=step, values={"train/loss": 1.0 / step}))
    writer.write(RunFinished(step=steps))
    writer.close()


def link_arm(store: Store, study_id: int, arm: str, experiment_id: int) -> None:
    """Make an existing experiment an arm of the study."""
    with store._write() as session:
        session.add(StudyArmRow(experiment_id=experiment_id, study_id=study_id, arm=arm))
