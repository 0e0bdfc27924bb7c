"""Run folders as a trainer leaves them."""

from __future__ import annotations

from core.spec.run.events import EventWriter, Metrics, RunFinished, RunStarted
from sdgui.store.records import Run
from sdgui.store.store import Store


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
