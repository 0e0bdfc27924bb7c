"""One run of a study, in a process of its own: trained or resumed, then evaluated.

Flow: ``core.studies.study.queue`` starts ``python -m core.studies.study.job OUT ARM SEED STEPS`` ->
``core.training.train`` -> measures of the last checkpoint, student and teacher, as ``exports/measures.json``. It can
be killed at any moment and started again.
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
from core.spec.config import RunConfig, override, read_config, teaching, with_absolute_paths
from core.spec.config.teaching import Teaching
from core.spec.errors import UserError
from core.spec.failures import sentence
from core.spec.files import write_whole
from core.spec.run.events import Evaluated, EventReader, Metrics, RunStarted
from core.spec.run.folder import RunDir
from core.spec.run.model_names import resolve
from core.spec.study import Arm, Measure, Study, StudyDir, absolute, read_study
from core.studies.study.data import data_path
from core.training.memory import keep_freed_memory
from core.training.train import train

MEASURES_VERSION = 1


def run_config(out: StudyDir, study: Study, arm: Arm, seed: int, steps: int) -> RunConfig:
    """The config of ``arm`` with ``seed``, with as many epochs as ``steps`` steps on its data take."""
    train_data = data_path(out, study, arm.train or study.train, seed)
    paths = [f"data.train={train_data}", f"data.val={data_path(out, study, study.val, seed) if study.val else ''}"]
    config = override(study.recipe(arm), [*paths, f"seed={seed}", f"name={study.name} {arm.name} s{seed}"])
    rows = open_source(train_data).rows
    if len(rows) < config.optim.batch_size:
        raise UserError(f"{train_data} has {len(rows)} pairs, fewer than a batch of {config.optim.batch_size}.")
    epochs = steps / steps_per_epoch(config, rows)
    return with_absolute_paths(override(config, [f"optim.epochs={epochs!r}"]))


def steps_per_epoch(config: RunConfig, rows: Sequence[Row]) -> int:
    """Steps per epoch over ``rows``, as the loader counts: over the unlabelled ones where these are drawn apart."""
    size, data = config.optim.batch_size, config.data
    if not (data.label and data.unlabelled_ratio):
        return len(rows) // size
    classes = Counter(value for row in rows if (value := row.labels.get(data.label)))
    labelled = sum(min(count, data.labels_per_class or count) for count in classes.values())
    return max(1, (len(rows) - labelled) // (size * data.unlabelled_ratio))


def main(arguments: list[str]) -> int:
    """Train and evaluate; returns the exit status: 0 when both are done, 3 when it was stopped, 1 on an error."""
    folder, name, seed, steps = arguments
    keep_freed_memory()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="parent", daemon=True).start()
    return reported(lambda: work(StudyDir(Path(folder)), name, int(seed), int(steps)))


def reported(doing: Callable[[], int]) -> int:
    """The exit status of ``doing``; 1 when it failed, for which the last line of stderr says why."""
    try:
        return doing()
    except Exception as error:  # told apart by `sentence`
        told = sentence(error)
        if told is None:
            raise
        _say(f"error: {told}")
    return 1


def _end_with_parent(parent: int) -> None:
    """Stop, with the state saved, when the study's own process is gone; else two might work on one run."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)


def work(out: StudyDir, name: str, seed: int, steps: int) -> int:
    """Train what is not trained, measure what is not measured; the exit status of `main`."""
    study = absolute(read_study(out.study), out.path)
    arm, run = study.arm(name), out.run(name, seed)
    if out.read_measures(name, seed) is None:  # else it is trained, and has only to be measured further
        outcome = train(run_config(out, study, arm, seed, steps), run)
        if outcome != "done":
            _say(f"{outcome}: {run.path}")
            return 3
    found = measure(out, study, arm, seed)
    write_whole(out.measures(name, seed), (json.dumps(found, indent=1) + "\n").encode())
    return 0


def measure(out: StudyDir, study: Study, arm: Arm, seed: int) -> dict[str, Any]:
    """All measures of ``study`` for one finished run, as plain data; those that were computed before are kept.

    ``{"version", "arm", "seed", "steps", "step_seconds", "train_seconds", "pairs", "parameters", "networks":
    {"student": {"test/R@1": 0.4, ...}, "teacher": ...}, "measured": [MEASURE, ...], "curve": [{"step", "seconds",
    "values"}], "notes": [...]}``
    """
    run = out.run(arm.name, seed)
    before = out.read_measures(arm.name, seed) or {"networks": {}}
    missing = out.missing(study, arm.name, seed)
    had = tuple(f"{one.name}/" for one in study.measures_of(arm.name) if one not in missing)
    networks: dict[str, dict[str, float]] = {}
    notes: list[str] = []
    failed: list[Measure] = []
    for weights in ("student", "teacher"):
        if not (run.checkpoints / resolve(run, "last") / f"{weights}.safetensors").exists():
            continue
        earlier = before["networks"].get(weights, {})
        networks[weights] = {key: value for key, value in earlier.items() if key.startswith(had)}
        for one in missing:
            _say(f"evaluating {one.name} of the {weights}")
            try:
                networks[weights] |= _measured(out, study, run, seed, weights, one)
            except UserError as error:
                notes.append(f"{one.name} of the {weights} could not be measured: {error}")
                failed.append(one)
    measured = [one for one in study.measures_of(arm.name) if one not in failed]
    return {
        "version": MEASURES_VERSION,
        "arm": arm.name,
        "seed": seed,
        **timing(run),
        "networks": networks,
        "measured": [one.written() for one in measured],
        "notes": notes,
    }


def _say(text: str) -> None:
    """A remark for ``stderr.log``."""
    print(text, file=sys.stderr, flush=True)


def _quiet(doing: str, done: int, total: int) -> None:
    """Nobody watches the measuring."""


def _measured(out: StudyDir, study: Study, run: RunDir, seed: int, weights: str, one: Measure) -> dict[str, float]:
    data = str(data_path(out, study, one.data, seed))
    if one.task == "noise":
        alone, together = rank_pairs(run, data, _quiet, weights=weights), rank_pairs(run, data, _quiet)
        precisions = {
            "precision": alone.precision(),
            "precision with memory": together.precision(),
            "recall with memory": together.recall(),
            "AUC with memory": together.auc(),
        }
        return {f"{one.name}/{key}": value for key, value in precisions.items() if value is not None}
    request = Request(
        data=data,
        task=one.task,
        label=one.label,
        train=str(data_path(out, study, one.train, seed)) if one.train else "",
        templates=one.templates,
        shots=tuple(one.shots),
        draws=one.draws,
    )
    report = evaluate(open_model(f"{run.path}@last", weights), request, _quiet, _say)
    values = both_ways(dict(report.outcome.metrics))
    kept = {key: value for key, value in values.items() if not one.keep or key in one.keep}
    return {f"{one.name}/{key}": float(value) for key, value in kept.items()}


def both_ways(metrics: dict[str, float]) -> dict[str, float]:
    """Retrieval ``metrics`` with ``R@k`` added: the mean of image-to-text and text-to-image, from 0 to 1."""
    for key in [key for key in metrics if key.startswith("image_to_text_R@")]:
        name = key.removeprefix("image_to_text_")
        metrics[name] = (metrics[key] + metrics[f"text_to_image_{name}"]) / 2
    return metrics


def timing(run: RunDir) -> dict[str, Any]:
    """Steps, seconds and the validation curve of a run, from its events.

    ``step_seconds`` is what a step takes on average where nothing holds it up, including the wait for data
    (`usual_step`); ``train_seconds`` is the sum of all steps.
    Validation and saving are not counted. Steps that ``runtime.log_every`` left out are interpolated linearly.
    """
    seconds: dict[int, float] = {}
    curve: dict[int, dict[str, float]] = {}
    facts = {"pairs": 0, "parameters": 0}
    config = read_config(run.config)
    batch = config.optim.batch_size * (1 + config.data.unlabelled_ratio)
    for event in EventReader(run.events).read_all():
        if isinstance(event, RunStarted):
            facts = {"pairs": event.pairs, "parameters": event.parameters}
        elif isinstance(event, Metrics) and event.values.get("train/pairs_per_s"):
            seconds[event.step] = batch / event.values["train/pairs_per_s"]
        elif isinstance(event, Evaluated):
            curve[event.step] = curve.get(event.step, {}) | _curve_values(dict(event.values))
    steps = max(seconds, default=0)
    told = sorted(seconds)
    lasted = np.interp(range(1, steps + 1), told, [seconds[step] for step in told]) if told else np.zeros(0)  # (steps,)
    points = [
        {"step": step, "seconds": float(lasted[:step].sum()), "values": values}
        for step, values in sorted(curve.items())
        if values
    ]
    return {
        "steps": steps,
        "step_seconds": usual_step(lasted, teaching(config, steps)),
        "train_seconds": float(lasted.sum()),
        **facts,
        "curve": points,
    }


def usual_step(lasted: Floats, plan: Teaching) -> float:
    """Mean seconds of a step, of steps that took ``lasted`` (steps,) seconds; 0.0 of none.

    Steps that a teacher teaches in take longer, and by ``plan`` they come in cycles: the median cycle counts after it
    has begun, and the median step before, each by its share. So a step that was held up does not.
    """
    parts = ((lasted[: plan.start], 1), (lasted[plan.start :], plan.every))
    return sum(len(part) * _median_cycle(part, every) for part, every in parts if len(part)) / max(1, len(lasted))


def _median_cycle(lasted: Floats, every: int) -> float:
    """Mean seconds of a step in the median one of cycles of ``every`` steps; of all where there is no whole cycle."""
    whole = len(lasted) // every * every
    return float(np.median(lasted[:whole].reshape(-1, every).mean(axis=1)) if whole else lasted.mean())


def _curve_values(values: dict[str, float]) -> dict[str, float]:
    """``student/R@1`` and so on of a validation, both ways together."""
    found: dict[str, float] = {}
    for weights in ("student", "teacher"):
        for k in (1, 10):
            pair = [values.get(f"val/{weights}/{way}_R@{k}") for way in ("image_to_text", "text_to_image")]
            if None not in pair:
                found[f"{weights}/R@{k}"] = sum(value for value in pair if value is not None) / 2
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
