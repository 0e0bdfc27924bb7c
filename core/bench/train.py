"""``python -m core bench train``: compares this trainer with open_clip_train, and self-distilling with plain steps.

Both trainers train the same model on the same OpenMoji pairs with the same batch, schedule, precision and threads, in
separate processes, one after the other. Speed is the median pairs per second after the warm-up steps; quality is the
validation recall at 10 after the same number of epochs, computed by each trainer's own metric. Self-distilling steps
are measured in CPU time, in groups of steps.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from core.bench.results import BenchResult, result
from core.data.demo.openmoji import write_demo_data
from core.model.towers.towers import resolve_architecture
from core.spec.children import python_command
from core.spec.config import RunConfig, override
from core.spec.errors import UserError
from core.spec.presets import preset_config
from core.spec.run.events import Evaluated, EventReader, EventWriter, Metrics
from core.spec.run.folder import RunDir
from core.training.loop import Loop
from core.training.progress import Heartbeat

EPOCHS = 4
ROUNDS = 2
WARM_UP_STEPS = 4
GROUP_STEPS = 3  # steps that are timed together, so that a teacher in every third step counts once
WARM_UP_GROUPS, TIMED_GROUPS = 2, 10
MAX_STEP_RATIOS = (("sd-clip", "clip", 1.5), ("sd-coca", "coca", 1.5))  # preset, baseline, ratio
_SPEED = re.compile(r"([0-9.]+)/s, [0-9.]+/s/gpu")


@dataclass(frozen=True)
class TrainingResult:
    """Speed and quality of one training run."""

    pairs_per_s: float
    recall_at_10: float  # mean of both directions, 0 to 1


def run() -> list[BenchResult]:
    """Measure all rows; takes about ten minutes on two cores."""
    missing = [name for name in ("braceexpand", "webdataset", "pandas") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"open_clip's trainer needs {', '.join(missing)}; run: pip install 'sdgui[bench]'")
    with tempfile.TemporaryDirectory(prefix="sdgui-bench-") as folder:
        work = Path(folder)
        write_demo_data(work / "data")
        rows = []
        for precision in ("fp32", "bf16"):
            rows.extend(_against_open_clip(work, precision))
        return [*rows, *(_distilling_step(work, *limit) for limit in MAX_STEP_RATIOS)]


def _config(work: Path, preset: str, precision: str, seed: int = 0) -> RunConfig:
    data = work / "data"
    return override(
        preset_config(preset, "demo"),
        [
            f"data.train={data / 'train.csv'}",
            f"data.val={data / 'val.csv'}",
            f"optim.epochs={EPOCHS}",
            f"seed={seed}",
            "runtime.device=cpu",
            f"runtime.precision={precision}",
            "validation.every_steps=1000000",
            "checkpoint.every_steps=1000000",
        ],
    )


def _against_open_clip(work: Path, precision: str) -> list[BenchResult]:
    ours, theirs = [], []
    for seed in range(ROUNDS):
        config = _config(work, "clip", precision, seed)
        _log(f"{precision}, seed {seed}: ours")
        ours.append(_train_ours(config, work / f"ours-{precision}-{seed}"))
        _log(f"  {ours[-1]}; now open_clip_train")
        theirs.append(_train_open_clip(config, work / f"peer-{precision}-{seed}"))
        _log(f"  {theirs[-1]}")
    speed, peer_speed = (statistics.median(t.pairs_per_s for t in side) for side in (ours, theirs))
    ratio = statistics.median(a.pairs_per_s / b.pairs_per_s for a, b in zip(ours, theirs, strict=True))
    recall, peer_recall = (statistics.mean(t.recall_at_10 for t in side) for side in (ours, theirs))
    return [
        result(f"clip against open_clip_train, {precision}", speed, peer_speed, "pairs/s", ratio, 1.3),
        # Recall varies by about a point between seeds.
        result(f"  its validation recall at 10, {precision}", recall, peer_recall, "share", recall / peer_recall, 0.98),
    ]


def _train_ours(config: RunConfig, folder: Path) -> TrainingResult:
    folder.mkdir()
    run_config = folder / "config.json"
    run_config.write_text(config.to_json(), encoding="utf-8")
    command = [*python_command("core"), "train", str(run_config), str(folder / "run")]
    _call(command, folder / "log.txt")
    events = EventReader(RunDir(folder / "run").events).read_all()
    speeds = [event.values["train/pairs_per_s"] for event in events if isinstance(event, Metrics)]
    last = [event for event in events if isinstance(event, Evaluated)][-1].values
    recall = (last["val/student/image_to_text_R@10"] + last["val/student/text_to_image_R@10"]) / 2
    return TrainingResult(statistics.median(speeds[WARM_UP_STEPS:]), recall)


def _train_open_clip(config: RunConfig, folder: Path) -> TrainingResult:
    """Train with open_clip's command line on the same config."""
    folder.mkdir()
    architecture = folder / "peer-model.json"
    architecture.write_text(json.dumps(resolve_architecture(config.towers.architecture)), encoding="utf-8")
    optim = config.optim
    pairs = len(Path(config.data.train).read_text(encoding="utf-8").splitlines()) - 1
    steps = int(optim.epochs) * (pairs // optim.batch_size)
    flags: dict[str, object] = {
        "train-data": _absolute_csv(Path(config.data.train), folder),
        "val-data": _absolute_csv(Path(config.data.val), folder),
        "dataset-type": "csv",
        "csv-separator": ",",
        "csv-img-key": "filepath",
        "csv-caption-key": "title",
        "model": architecture.stem,
        "batch-size": optim.batch_size,
        "epochs": round(optim.epochs),
        "lr": optim.learning_rate,
        "wd": optim.weight_decay,
        "beta1": optim.beta1,
        "beta2": optim.beta2,
        "eps": optim.eps,
        "warmup": round(optim.warmup * steps),
        "grad-clip-norm": optim.clip_norm,
        "precision": {"fp32": "fp32", "bf16": "amp_bf16"}[config.runtime.precision],
        "workers": 1,
        "device": "cpu",
        "seed": config.seed,
        "logs": folder / "logs",
        "name": "peer",
        "log-every-n-steps": 1,
        "val-frequency": round(optim.epochs),
        "save-frequency": 0,
    }
    arguments = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    view = config.views.clean
    arguments += ["--aug-cfg", f"scale=({view.crop_min},1.0)"]
    start = (
        "import sys, open_clip; open_clip.add_model_config(sys.argv.pop(1)); "
        "from open_clip_train.main import main; main(sys.argv[1:])"
    )
    _call([sys.executable, "-c", start, str(architecture), *arguments], folder / "log.txt")
    log = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    speeds = [float(speed) for speed in _SPEED.findall(log)]
    lines = (folder / "logs" / "peer" / "checkpoints" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    last = json.loads(lines[-1])
    return TrainingResult(
        statistics.median(speeds[WARM_UP_STEPS:]), (last["image_to_text_R@10"] + last["text_to_image_R@10"]) / 2
    )


def _absolute_csv(path: Path, folder: Path) -> Path:
    """A copy of the CSV with absolute image paths, since open_clip_train resolves paths against the working folder."""
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    copy = folder / path.name
    copy.write_text("\n".join([head, *(f"{path.parent}/{line}" for line in lines)]) + "\n", encoding="utf-8")
    return copy


def _call(command: list[str], log: Path) -> None:
    threads = str(torch.get_num_threads())
    environment = os.environ | {"OMP_NUM_THREADS": threads, "CUDA_VISIBLE_DEVICES": "", "WANDB_MODE": "disabled"}
    with log.open("wb") as out:
        process = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=environment, check=False)
    if process.returncode:
        end = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise UserError(f"{' '.join(command[:5])} ... ended with status {process.returncode}:\n{end}")


def _distilling_step(work: Path, preset: str, baseline: str, max_ratio: float) -> BenchResult:
    """Check that a step of ``preset`` takes at most ``max_ratio`` times as long as a step of ``baseline``."""
    loops = {name: _loop(_config(work, name, "auto"), work / f"step-{preset}-{name}") for name in (baseline, preset)}
    streams = {name: loop.parts.loader.batches(0, loop.total_steps) for name, loop in loops.items()}
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(WARM_UP_GROUPS + TIMED_GROUPS):
        for name, loop in loops.items():
            start_time = time.process_time()
            for _ in range(GROUP_STEPS):
                loop.train_step(next(streams[name]))
            seconds[name].append((time.process_time() - start_time) / GROUP_STEPS)
    plain, distilling = (seconds[name][WARM_UP_GROUPS:] for name in (baseline, preset))
    cost = statistics.median(b / a for a, b in zip(plain, distilling, strict=True))
    _log(f"a step of {preset} costs {cost:.3f} of {baseline} (at most {max_ratio:g})")
    name = f"{baseline} step for a step of {preset}"
    return result(name, statistics.median(distilling), statistics.median(plain), "s/step", 1 / cost, 1 / max_ratio)


def _loop(config: RunConfig, folder: Path) -> Loop:
    run_dir = RunDir(folder)
    run_dir.create()
    return Loop(config, run_dir, EventWriter(run_dir.events), Heartbeat(run_dir, quiet=True), threading.Event())


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
