"""A trainer in miniature, without torch: it keeps to the run folder's manners and reports a loss known beforehand.

Started by tests as ``python fake_trainer.py [--steps N] [--delay S] [--deaf] [--fail-at N] train CONFIG RUN_DIR``. It
claims the folder, resumes from its last checkpoint, and looks at ``control`` each step unless it is deaf. A file
``hurry`` beside the run ends the delays.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from core.spec.chain import ChainDir, is_chain, read_chain
from core.spec.config import read_config
from core.spec.files import write_whole
from core.spec.run.events import (
    CheckpointSaved,
    Evaluated,
    EventWriter,
    Log,
    Metrics,
    RunFailed,
    RunFinished,
    RunStarted,
)
from core.spec.run.folder import RunDir
from core.spec.run.status import own_status

SAVE_EVERY = 10


def loss_at(step: int) -> float:
    """What is reported after ``step``, so that a test can tell a lost or doubled point."""
    return 4.0 / step


def recall_at(step: int) -> float:
    return 1.0 - 1.0 / (1.0 + step)


def train(run: RunDir, options: argparse.Namespace) -> int:
    lock = run.claim()
    config = read_config(run.config)
    saved = run.checkpoints / "last"
    first = int(saved.read_text()) if saved.exists() else 0
    events = EventWriter(run.events)
    run.write_status(own_status(first, options.steps, "reading data"))
    events.write(RunStarted(step=first, total_steps=options.steps, config_digest=config.digest(), device="cpu"))
    outcome = "done"
    step = first
    for step in range(first + 1, options.steps + 1):
        time.sleep(0 if (run.path.parent / "hurry").exists() else options.delay)
        if step == options.fail_at:
            print("Traceback: it broke", file=sys.stderr, flush=True)
            events.write(RunFailed(step=step, error="TrainingError", message=f"It broke at step {step}."))
            return 1
        events.write(Metrics(step=step, values={"train/loss": loss_at(step), "train/lr": 0.1}))
        run.write_status(own_status(step, options.steps, "training", (options.steps - step) * options.delay))
        while (
            step == SAVE_EVERY
            and options.wait_in
            and run.path.name.startswith(options.wait_in)
            and not run.pending_request()
        ):
            time.sleep(0.01)
        asked = None if options.deaf else run.pending_request()
        if step % SAVE_EVERY == 0 or asked or step == options.steps:
            events.write(Evaluated(step=step, values={"val/student/mean_recall": recall_at(step)}))
            write_whole(saved, str(step).encode())
            events.write(CheckpointSaved(step=step, name="last"))
        if asked:
            outcome = {"stop": "stopped", "pause": "paused"}[asked]
            break
    run.clear_control()
    events.write(Log(level="info", message="The end."))
    events.write(RunFinished(step=step, outcome=outcome))
    lock.release()
    return 0


def train_chain(folder: ChainDir, options: argparse.Namespace) -> int:
    """Each stage in its folder, passing over what is done; no further than one that did not reach its end."""
    chain = read_chain(folder.chain)
    for place, stage in enumerate(chain.stages):
        run = folder.stage(chain, place)
        saved = run.checkpoints / "last"
        if saved.exists() and int(saved.read_text()) >= options.steps:
            continue
        run.create()
        if not run.config.exists():
            write_whole(run.config, stage.config.to_json().encode())
        if train(run, options) or int(saved.read_text()) < options.steps:
            return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--delay", type=float, default=0.01)
    parser.add_argument("--deaf", action="store_true", help="look at neither control nor SIGTERM")
    parser.add_argument("--fail-at", type=int, default=0)
    parser.add_argument("--wait-in", default="", help="in a folder of this beginning, wait until something is asked")
    parser.add_argument("verb", choices=["train"])
    parser.add_argument("config", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stage-logs", action="store_true")
    parser.add_argument("--code")
    options = parser.parse_args()
    if options.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("begins", flush=True)
    if is_chain(options.config):
        return train_chain(ChainDir(options.folder), options)
    return train(RunDir(options.folder), options)


if __name__ == "__main__":
    sys.exit(main())
