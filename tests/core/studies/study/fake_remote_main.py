"""Stands in for a part of a study on another machine: a few steps, which heed what they are asked, then measures."""

import json
import os
import runpy
import sys
import time
from pathlib import Path

from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics, RunFinished, RunStarted
from core.spec.run.status import own_status
from core.spec.study import StudyDir

kind, out, arm, number, *steps = sys.argv[1:]
study = StudyDir(Path(out))
if kind == "step":
    seconds = {
        "clock": "cpu",
        "step_seconds": 0.5 if arm == "base" else 1.0,
        "reference_seconds": 0.5,
        "machine": "far",
    }
    (study.times / f"{arm}-{number}" / "exports" / "step.json").write_text(json.dumps(seconds))
    sys.exit(0)
run = study.run(arm, int(number))
config = preset_config("clip", "tiny")
if arm != "broken" or (study.path / "mended").exists():
    run.config.write_text(config.to_json(), encoding="utf-8")
    events = EventWriter(run.events)
    events.write(RunStarted(step=0, total_steps=int(steps[0]), config_digest=config.digest(), device="cpu"))
    for step in range(1, int(steps[0]) + 1):
        run.write_status(own_status(step, int(steps[0]), "training"))
        events.write(Metrics(step=step, values={"train/loss": 1.0 / step}))
        time.sleep(float(os.environ.get("FAKE_DELAY", "0.01")))
        while arm == "slow" and not (study.path / "go").exists() and run.pending_request() is None:
            time.sleep(0.02)
        if run.pending_request():
            events.write(RunFinished(step=step, outcome="stopped"))
            sys.exit(3)
    events.write(RunFinished(step=int(steps[0]), outcome="done"))
    events.close()
sys.argv[1:] = [out, arm, number, *steps]
runpy.run_path(str(Path(__file__).with_name("fake_job.py")), run_name="__main__")
