"""Trains or resumes one run of a study in a separate process, then evaluates the run.

Flow: ``core.studies.study.queue`` starts ``python -m core.studies.study.job OUT ARM SEED STEPS`` ->
``core.training.train`` -> measures of student and teacher at the last checkpoint, in ``exports/measures.json``. The
process can be killed at any moment and started again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from core.checkpoint.opening import open_model
from core.data.draws import Floats
from core.data.sources.opening import open_source
from core.data.sources.rows import Row
from core.evaluation.evaluate import Request, evaluate
from core.evaluation.noise import rank_pairs
from core.spec.children import STARTER_VARIABLE
from core.spec.config import RunConfig, override, read_config, teacher_schedule, with_absolute_paths
from core.spec.errors import UserError
from core.spec.failures import say_error, sentence
from core.spec.files import write_whole
from core.spec.run.events import EventReader, Metrics, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.model_names import resolve
from core.spec.run.processes import is_running, start_time
from core.spec.study import Arm, Measure, Study, StudyDir, absolute, read_study
from core.studies.study.data import data_path
from core.studies.study.statistics import with_mean_recall
from core.training.memory import keep_freed_memory
from core.training.train import train

MEASURES_VERSION = 1


def run_config(out: StudyDir, study: Study, arm: Arm, seed: int, steps: int) -> RunConfig:
    """The config of ``arm`` with ``seed``, with the number of epochs that gives ``steps`` steps."""
    train_data = data_path(out, study, arm.train or study.train, seed)
    paths = [f"data.train={train_data}", f"data.val={data_path(out, study, study.val, seed) if study.val else ''}"]
    config = override(study.recipe(arm), [*paths, f"seed={seed}", f"name={study.name} {arm.name} s{seed}"])
    rows = open_source(train_data).rows
    if len(rows) < config.optim.batch_size:
        raise UserError(f"{train_data} has only {len(rows)} pairs; a batch has {config.optim.batch_size}.")
    epochs = steps / steps_per_epoch(config, rows)
    return with_absolute_paths(override(config, [f"optim.epochs={epochs!r}"]))


def steps_per_epoch(config: RunConfig, rows: Sequence[Row]) -> int:
    """Steps per epoch over ``rows``, counted in the same way as by the loader."""
    size, data = config.optim.batch_size, config.data
    if not (data.label and data.unlabelled_ratio):
        return len(rows) // size
    classes = Counter(value for row in rows if (value := row.labels.get(data.label)))
    labelled = sum(min(count, data.labels_per_class or count) for count in classes.values())
    return max(1, (len(rows) - labelled) // (size * data.unlabelled_ratio))


def main(arguments: list[str]) -> int:
    """Train and evaluate. Returns the exit status: 0 if both are done, 3 if stopped, 1 after an error."""
    folder, name, seed, steps = arguments
    keep_freed_memory()
    end_with_study()
    return run_reporting_errors(lambda: work(StudyDir(Path(folder)), name, int(seed), int(steps)))


def run_reporting_errors(action: Callable[[], int]) -> int:
    """Run ``action`` and return its exit status; after an error, print the reason on stderr and return 1."""
    try:
        return action()
    except Exception as error:
        text = sentence(error)
        if text is None:
            raise
        say_error(f"error: {text}")
    return 1


def end_with_study() -> None:
    """Save and stop when the study's process has exited, so that two trainers never work on one run."""
    # From the environment, since the study may have exited while this process loaded its libraries.
    study = int(os.environ.get(STARTER_VARIABLE) or os.getppid())
    threading.Thread(target=_end_with, args=(study,), name="study", daemon=True).start()


def _end_with(pid: int) -> None:
    started = start_time(pid)
    while is_running(pid, started):
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def work(out: StudyDir, name: str, seed: int, steps: int) -> int:
    """Train and evaluate, skipping parts that are done. Returns the exit status of `main`."""
    study = absolute(read_study(out.study), out.path)
    arm, run = study.arm(name), out.run(name, seed)
    if out.read_measures(name, seed) is None:  # otherwise the run is trained, and only new measures are missing
        outcome = train(run_config(out, study, arm, seed, steps), run)
        if outcome != "done":
            _log(f"{outcome}: {run.path}")
            return 3
    measures = measure(out, study, arm, seed)
    write_whole(out.measures(name, seed), (json.dumps(measures, indent=1) + "\n").encode())
    return 0


def measure(out: StudyDir, study: Study, arm: Arm, seed: int) -> dict[str, Any]:
    """All measures of ``study`` for one trained run, as plain data. Existing values are not computed again.

    ``{"version", "arm", "seed", "steps", "step_seconds", "train_seconds", "pairs", "parameters", "networks":
    {"student": {"test/R@1": 0.4, ...}, "teacher": ...}, "measured": [MEASURE, ...], "notes": [...]}``
    """
    run = out.run(arm.name, seed)
    previous = out.read_measures(arm.name, seed) or {"networks": {}}
    missing = out.missing_measures(study, arm.name, seed)
    measured_prefixes = tuple(f"{item.name}/" for item in study.measures_of(arm.name) if item not in missing)
    networks: dict[str, dict[str, float]] = {}
    notes: list[str] = []
    failed: list[Measure] = []
    for weights in ("student", "teacher"):
        if not (run.checkpoints / resolve(run, "last") / f"{weights}.safetensors").exists():
            continue
        earlier_metrics = previous["networks"].get(weights, {})
        networks[weights] = {key: value for key, value in earlier_metrics.items() if key.startswith(measured_prefixes)}
        for item in missing:
            _log(f"evaluating {item.name} of the {weights}")
            try:
                networks[weights] |= _measure_one(out, study, run, seed, weights, item)
            except UserError as error:
                notes.append(f"{item.name} of the {weights} could not be measured: {error}")
                failed.append(item)
    completed = [item for item in study.measures_of(arm.name) if item not in failed]
    return {
        "version": MEASURES_VERSION,
        "arm": arm.name,
        "seed": seed,
        **timing(run),
        "networks": networks,
        "measured": [item.record() for item in completed],
        "notes": notes,
    }


def _log(text: str) -> None:
    """Write a line to ``stderr.log``."""
    print(text, file=sys.stderr, flush=True)


def ignore_progress(activity: str, done: int, total: int) -> None:
    """Ignore the progress of an evaluation."""


def _measure_one(out: StudyDir, study: Study, run: RunDir, seed: int, weights: str, item: Measure) -> dict[str, float]:
    data = str(data_path(out, study, item.data, seed))
    if item.task == "noise":
        ranking = rank_pairs(f"{run.path}@last", data, ignore_progress, weights)
        figures = {"precision": ranking.precision(), "recall": ranking.recall(), "AUC": ranking.auc()}
        return {f"{item.name}/{key}": value for key, value in figures.items() if value is not None}
    request = Request(
        data=data,
        task=item.task,
        label=item.label,
        train=str(data_path(out, study, item.train, seed)) if item.train else "",
        templates=item.templates,
        shots=tuple(item.shots),
        draws=item.draws,
    )
    report = evaluate(open_model(f"{run.path}@last", weights), request, ignore_progress, _log)
    values = with_mean_recall(report.outcome.metrics)
    selected = {key: value for key, value in values.items() if not item.keep or key in item.keep}
    return {f"{item.name}/{key}": float(value) for key, value in selected.items()}


def timing(run: RunDir) -> dict[str, Any]:
    """The steps and seconds of a run, from its events.

    ``step_seconds`` is the typical time of a step, including the wait for data (`typical_step_seconds`);
    ``train_seconds`` is the sum over all steps; ``memory_gib`` is the highest reported, absent without any. Validation
    and saving are not counted. Steps that ``runtime.log_every`` skipped are interpolated linearly.
    """
    seconds: dict[int, float] = {}
    facts: dict[str, float] = {"pairs": 0, "parameters": 0}
    config = read_config(run.config)
    batch = config.optim.batch_size * (1 + config.data.unlabelled_ratio)
    for event in EventReader(run.events).read_all():
        if isinstance(event, RunStarted):
            facts |= {"pairs": event.pairs, "parameters": event.parameters}
        elif isinstance(event, Metrics):
            if memory := event.values.get("runtime/memory_gib"):
                facts["memory_gib"] = max(facts.get("memory_gib", 0.0), memory)
            if speed := event.values.get("train/pairs_per_s"):
                seconds[event.step] = batch / speed
    steps = max(seconds, default=0)
    logged_steps = sorted(seconds)
    durations = np.zeros(0)  # (steps,)
    if logged_steps:
        durations = np.interp(range(1, steps + 1), logged_steps, [seconds[step] for step in logged_steps])
    return {
        "steps": steps,
        "step_seconds": typical_step_seconds(durations, teacher_schedule(config).every),
        "train_seconds": float(durations.sum()),
        **facts,
    }


def typical_step_seconds(durations: Floats, cycle: int) -> float:
    """Typical seconds of a step, given the ``durations`` (steps,) of all; 0.0 if there are none.

    Steps with a teacher take longer, and come once per ``cycle`` steps. The result is the mean of the median cycle,
    so that single slow steps do not count; without a full cycle, it is the mean of all steps.
    """
    if len(durations) < cycle:
        return float(durations.mean()) if len(durations) else 0.0
    in_cycles = len(durations) // cycle * cycle
    return float(np.median(durations[:in_cycles].reshape(-1, cycle).mean(axis=1)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
