"""``python -m core bench digits``: FixMatch and MixMatch against labels alone, with 10 labels a class.

scikit-learn's 1797 handwritten digits are written as pictures, in parts that no seed changes: 1047 to train on, 300 on
which the recipe was chosen, 450 that are judged once, at the end. A seed draws which 100 rows keep their label, the
weights and the order. The three arms of a seed share labels, weak views, labelled batches, schedule and steps; that
of labels alone leaves out the loss on unlabelled rows. Each is judged by the moving average of its weights.

**Findings**, 600 steps, % of the test part for seeds 0, 1, 2 (recipe fixed before; one pass):

    labels alone 97.6 96.0 93.6, mean 95.7
    fixmatch     98.0 97.8 98.9, mean 98.2: +2.5 +- 6.3
    mixmatch     97.6 99.3 99.3, mean 98.7: +3.0 +- 7.2

Labels alone leave 4.3 points, so the 5 that are asked for are out of reach with this network: the bench says so. What
was tried on the validation part, single runs, a picture being 0.3 points; from the second line on in a bare loop over
ten views of each picture drawn beforehand and other draws of labels. "r8" is CLIP's ResNet of width 8.

    whole loop, r8, no border: labels alone 88.0 (200 steps), 91.7 (600); fixmatch 93.3 (300); mixmatch 90.7 (400)
    r8, 300 steps: labels alone 88.7, fixmatch 89.0, mixmatch 78.7; labels alone after 600: 91.3
    labels alone, seed 0: 89.0 (300 steps), 94.3 (600); rate 0.001: 89.7, 0.01: 91.7 (300); seed 1: 94.0 (600)
    labels alone on strong views, seed 1: 93.0 (600)
    fixmatch, seed 0: 93.3 (200 steps, ratio 4 or 7), 94.3 (600, ratio 4); seed 1: 95.0 (300, ratio 4)
    mixmatch, ratio 3: 93.3 (200), 94.3 (600, both seed 0); weight 25: 92.3 (200, seed 1)

A slower network or fewer steps leave more room, but the gain would be won against a baseline that stopped early.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy.stats import t as student_t
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading

from core.data.dataset import open_dataset
from core.data.labelling import label_rows
from core.spec.bench import BenchResult
from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.spec.run.events import Evaluated, EventReader
from core.spec.run.folder import RunDir
from core.training.train import train

SEEDS = (0, 1, 2)
ARMS = ("fixmatch", "mixmatch")
GAIN = 5.0  # points that each must be above labels alone
STEPS = 600
LABELLED = 8  # rows a step
BORDER = 1  # pixels of background around a digit's 8 x 8, into which a crop may shift it
SIDE = 40  # pixels of a written picture: what is decoded for an input of 32
Integers = npt.NDArray[np.int64]
PARTS = {"train": 1047, "val": 300, "test": 450}


@dataclass(frozen=True)
class Recipe:
    """What an arm changes in its preset."""

    preset: str
    ratio: int  # unlabelled rows for each labelled one
    settings: tuple[str, ...] = ()


WEAK = ("crop_min=0.7", "flip=false")  # with the border: shifts by up to 1.6 of 10 pixels, and zoom
# Milder than the preset's: half of a digit that is cut off or erased is another digit.
STRONG = (*WEAK, "randaugment_ops=2", "randaugment_magnitude=8", "erase=0.3")
RECIPES = {
    "labels alone": Recipe("fixmatch", 1, ("objectives.consistency.weight=0", "views.student.count=0")),
    "fixmatch": Recipe("fixmatch", 4, tuple(f"views.student.{setting}" for setting in STRONG)),
    "mixmatch": Recipe("mixmatch", 3, tuple(f"views.student.{setting}" for setting in WEAK)),
}


def run(peer: Path | None = None) -> list[BenchResult]:
    """Accuracy on the test part for each seed, and the mean gains; some minutes."""
    with tempfile.TemporaryDirectory(prefix="sdgui-digits-") as folder:
        work = Path(folder)
        write_digits(work)
        runs = [(arm, seed) for seed in SEEDS for arm in RECIPES]
        configs = [definition(work, arm, seed) for arm, seed in runs]
        folders = [work / f"{arm}-{seed}" for arm, seed in runs]
        # A run computes in one thread, so that as many go on at once as there are cores.
        with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
            right = dict(zip(runs, pool.map(accuracy, configs, folders), strict=True))
        near = [spreading(definition(work, "labels alone", seed)) for seed in SEEDS]
    rows = results(right)
    alone = statistics.mean(right["labels alone", seed] for seed in SEEDS)
    mean = statistics.mean(near)
    return [*rows, BenchResult("label spreading on pixels", mean, alone, "% right", mean - alone, None, True)]


def results(right: Mapping[tuple[str, int], float]) -> list[BenchResult]:
    """The rows of ``right``: percent of the test part by arm and seed."""
    rows = []
    for arm in ARMS:
        ours = [right[arm, seed] for seed in SEEDS]
        alone = [right["labels alone", seed] for seed in SEEDS]
        for seed, one, other in zip(SEEDS, ours, alone, strict=True):
            rows.append(BenchResult(f"{arm}, seed {seed}", one, other, "% right", one - other, None, True))
        rows.append(_gain(arm, ours, alone))
    return rows


def _gain(arm: str, ours: Sequence[float], alone: Sequence[float]) -> BenchResult:
    """The mean gain in points with its 95 % interval (paired, Student's t); it holds with the interval above 0."""
    gains = [one - other for one, other in zip(ours, alone, strict=True)]
    mean = statistics.mean(gains)
    half = float(student_t.ppf(0.975, len(gains) - 1)) * statistics.stdev(gains) / len(gains) ** 0.5
    return BenchResult(
        name=f"{arm}, points gained +- {half:.1f}",
        ours=statistics.mean(ours),
        peer=statistics.mean(alone),
        unit="% right",
        ratio=mean,
        at_least=GAIN,
        holds=mean >= GAIN and mean - half > 0,
    )


def split(classes: Integers) -> dict[str, Integers]:
    """The rows of each part, drawn in the proportions of ``classes`` (N,); no seed changes them."""
    rest = np.arange(len(classes))
    parts = {}
    for part in ("test", "val"):
        rest, parts[part] = train_test_split(rest, test_size=PARTS[part], random_state=0, stratify=classes[rest])
    return {"train": np.sort(rest), **parts}


def spreading(config: RunConfig, judged: str = "test") -> float:
    """Percent of the test part that scikit-learn's LabelSpreading names, on pixels, with the labels of ``config``.

    For orientation: what neighbourhood alone makes of the unlabelled rows, without a network or views.
    """
    digits = load_digits()
    parts = split(digits.target)
    data = open_dataset(config.data.train, config.data, SIDE, _no_words, build_cache=False)
    kept = label_rows(data, config.data, config.seed)
    assert kept is not None
    model = LabelSpreading("knn", n_neighbors=7, alpha=0.2, max_iter=100)
    model.fit(digits.data[parts["train"]], kept.of_rows.numpy())
    return 100.0 * float(model.score(digits.data[parts[judged]], digits.target[parts[judged]]))


def _no_words(texts: Sequence[str]) -> torch.Tensor:
    return torch.ones(len(texts), 1, dtype=torch.int64)


def write_digits(folder: Path) -> None:
    """``train.csv``, ``val.csv`` and ``test.csv`` with their pictures; the column ``digit`` is the class."""
    digits = load_digits()
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for part, members in split(digits.target).items():
        with (folder / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["filepath", "title", "digit"])
            for row in members.tolist():
                name = f"pictures/{row:04d}.png"
                grey = Image.fromarray(np.pad(np.uint8(digits.images[row] * (255 / 16)), BORDER))
                grey.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / name)
                writer.writerow([name, f"the digit {digits.target[row]}", digits.target[row]])


def definition(folder: Path, arm: str, seed: int, steps: int = STEPS, judged: str = "test") -> RunConfig:
    """The experiment of an arm: its preset with the bench's data, architecture and schedule."""
    recipe = RECIPES[arm]
    unlabelled = PARTS["train"] - 100
    epoch = max(1, unlabelled // (LABELLED * recipe.ratio))
    return override(
        preset_config(recipe.preset, "tiny"),
        [
            f"seed={seed}",
            f"data.train={folder / 'train.csv'}",
            f"data.{judged}={folder / f'{judged}.csv'}",
            "data.label=digit",
            "data.labels_per_class=10",
            f"data.unlabelled_ratio={recipe.ratio}",
            "towers.architecture=sd-digits",
            *(f"views.clean.{setting}" for setting in WEAK),
            *recipe.settings,
            "teacher.kind=ema-state",
            "teacher.momentum=0.98",
            f"optim.batch_size={LABELLED}",
            f"optim.epochs={steps / epoch}",
            "optim.learning_rate=0.004",
            "optim.weight_decay=0.02",
            "optim.warmup=0.05",
            "runtime.threads=1",
            f"runtime.log_every={steps}",
            f"validation.every_steps={steps}",
            f"checkpoint.every_steps={steps}",
        ],
    )


def accuracy(config: RunConfig, folder: Path) -> float:
    """Train ``config`` in ``folder``; percent of the test part, else of the validation part, that its teacher names."""
    run = RunDir(folder)
    train(config, run, quiet=True)
    values = {name: value for event in EventReader(run.events).read_all() if isinstance(event, Evaluated)
              for name, value in event.values.items()}  # fmt: skip
    return 100.0 * next(values[name] for name in ("test/teacher/top1", "val/teacher/top1") if name in values)
