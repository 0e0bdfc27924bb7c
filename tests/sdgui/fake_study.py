"""``core study`` in miniature: ``python fake_study.py [--delay S] [--fail ARM] study STUDY.json OUT``, without torch.

It keeps to the study folder's manners: a status of the queue, run folders with events, measures, and results after
each run; SIGTERM ends it with the run at work waiting again. Arm number i scores 0.1 (i + 1) + 0.01 seed.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from core.spec.files import write_whole
from core.spec.presets import preset_config
from core.spec.run.events import EventWriter, Metrics, RunFinished, RunStarted
from core.spec.run.status import own_status
from core.spec.study import Study, StudyDir, StudyRun, StudyStatus, read_study
from core.spec.study.machines import read_machines

ended = False


def stop(_number: int, _frame: object) -> None:
    global ended
    ended = True


def score(study: Study, arm: str, seed: int) -> float:
    return 0.1 * ([one.name for one in study.arms].index(arm) + 1) + 0.01 * seed


def mean(values: list[float]) -> dict[str, Any]:
    centre = sum(values) / len(values)
    half = None if len(values) < 2 else 0.05
    ends = {"low": None, "high": None} if half is None else {"low": centre - half, "high": centre + half}
    return {"mean": centre, **ends, "values": values}


def results(study: Study, done: dict[str, list[int]], failed: dict[str, str]) -> dict[str, Any]:
    arms: dict[str, Any] = {}
    for arm in study.arms:
        values = [score(study, arm.name, seed) for seed in done[arm.name]]
        networks = {"final": {"test/R@1": mean(values)}, "student": {"test/R@1": mean(values)}} if values else {}
        cost = {"step_seconds": mean([0.01]), "train_seconds": mean([1.0]), "ratio": mean([1.0])} if values else {}
        arms[arm.name] = {"seeds": done[arm.name], "failed": {}, "notes": {}, "cost": cost, "networks": networks}
        if arm.name in failed:
            arms[arm.name]["failed"] = {str(seed): failed[arm.name] for seed in study.seeds}
    compare = []
    for name, base in study.pairs:
        both = [seed for seed in done[name] if seed in done[base]]
        difference = mean([score(study, name, seed) - score(study, base, seed) for seed in both]) if both else None
        chances = {"p_t": 0.01, "p_exact": 0.25} if len(both) > 1 else {"p_t": None, "p_exact": None}
        paired = {"difference": difference, **chances, "significant": len(both) > 1, "seeds": len(both)}
        metrics = {"test/R@1": {"final": paired, "student": paired}} if both else {}
        compare.append({"arm": name, "baseline": base, "seeds": both, "cost_ratio": mean([2.0]), "metrics": metrics})
    head = {"version": 1, "name": study.name, "about": study.about, "steps": study.steps, "seeds": study.seeds}
    return head | {"metrics": ["test/R@1"] if any(done.values()) else [], "arms": arms, "compare": compare}


def train(out: StudyDir, run: StudyRun, study: Study, delay: float) -> bool:
    """Whether it came to its end."""
    folder = out.run(run.arm, run.seed)
    folder.create()
    config = preset_config(study.arm(run.arm).preset or "clip", "tiny")
    folder.config.write_text(config.to_json(), encoding="utf-8")
    events = EventWriter(folder.events)
    events.write(RunStarted(step=0, total_steps=study.steps, config_digest=config.digest(), device="cpu"))
    for step in range(1, study.steps + 1):
        folder.write_status(own_status(step, study.steps, "training", (study.steps - step) * delay))
        events.write(Metrics(step=step, values={"train/loss": 1.0 / step}))
        time.sleep(delay)
        if ended:
            events.write(RunFinished(step=step, outcome="stopped"))
            events.close()
            return False
    events.write(RunFinished(step=study.steps, outcome="done"))
    events.close()
    out.measures(run.arm, run.seed).write_text(json.dumps({"train_seconds": 1.0}), encoding="utf-8")
    return True


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.01)
    parser.add_argument("--fail", default="")
    parser.add_argument("verb", choices=["study"])
    parser.add_argument("study", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    study, out = read_study(options.study), StudyDir(options.out)
    if options.home:
        (options.home / "asked").write_text(" ".join(read_machines(out, study).on))
    runs = [StudyRun(arm.name, seed, f"runs/{arm.name}-s{seed}") for seed in study.seeds for arm in study.arms]
    status = StudyStatus(runs=runs)
    done: dict[str, list[int]] = {arm.name: [] for arm in study.arms}
    failed: dict[str, str] = {}
    for run in runs:
        if out.measures(run.arm, run.seed).exists():
            run.state = "done"
            done[run.arm].append(run.seed)
            continue
        run.state = "training"
        out.write_status(status.touch())
        if run.arm == options.fail:
            run.state, run.message = "failed", "error: there is no image; mend the data."
            failed[run.arm] = run.message
        elif not train(out, run, study, options.delay):
            run.state = "waiting"
            out.write_status(status.touch())
            return 1
        else:
            run.state = "done"
            done[run.arm].append(run.seed)
        write_whole(out.results, json.dumps(results(study, done, failed)).encode())
        write_whole(out.table, b"# results\n")
    write_whole(out.results, json.dumps(results(study, done, failed)).encode())
    status.finished = True
    out.write_status(status.touch())
    return 0


if __name__ == "__main__":
    sys.exit(main())
