"""One cell of the study: trains a recipe from a base model, and evaluates the path between the two.

The path goes from the base weights (alpha 0) to the tuned weights (alpha 1); gain and retention are measured at each of
its points.

A cell can be killed at any moment and started again: training resumes, and the path is evaluated again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from core.checkpoint.files import read_info
from core.checkpoint.opening import open_network
from core.data.dataset import PairDataset, open_dataset
from core.data.loader import evaluation_batches
from core.evaluation.interpolation import evaluate_path
from core.inference.encoder import UNPROJECTED, encode_dataset, encode_layers, encode_texts
from core.metrics.classification.labels import index_labels
from core.metrics.classification.linear_probe import linear_probe
from core.metrics.classification.logistic import ProbeData
from core.metrics.retrieval import retrieval_metrics
from core.model.eval_mode import evaluating
from core.model.network import Network
from core.model.runtime import Runtime
from core.spec.config import RunConfig, override
from core.spec.presets import preset_config
from core.spec.run.folder import RunDir
from core.spec.run.model_names import RunNetwork, checkpoint_names, locate
from core.spec.run.weight_path import Metrics, PathPoint
from core.studies.study.job import ignore_progress
from core.training.train import train
from tests.benchmarks.adapting.config import AdaptStudy, Arm
from tests.benchmarks.adapting.data import anchor_texts, read_rows

CPU = torch.device("cpu")
SETTINGS = ("runtime.device=cpu", "runtime.threads=1", "runtime.log_every=50", "checkpoint.every_steps=100")
BATCH_SIZE = 256  # images per batch in evaluation
CALIBRATION_BINS = 15
Curve = dict[str, list[float]]  # measure -> its value at each alpha


def train_base(study: AdaptStudy, data: Path, run: RunDir, seed: int) -> None:
    """Train the base model of ``seed``, unless it is already trained."""
    if not _is_trained(run):
        config = override(preset_config("clip", "demo"), [*SETTINGS, *study.base, f"seed={seed}"])
        train(_for_steps(config, data / study.base_data, study.base_steps), run, quiet=True)


def train_arm(study: AdaptStudy, arm: Arm, base: RunDir, pairs: Path, steps: int, seed: int, folder: Path) -> RunDir:
    """Train ``arm`` from ``base`` on the manifest ``pairs``; returns its run in ``folder``."""
    settings = [*arm.set]
    for kind in arm.anchors:
        if kind == "images":
            settings.append(f"objectives.image_anchors.source={pairs.parent / study.base_data}")
        else:
            settings.append(f"objectives.text_anchors.source={anchor_texts(pairs.parent, study.base_data, kind)}")
    start, remaining, stages = base, steps, [(settings, "run")]
    if arm.first:  # LP-FT: a first stage with these settings takes a third of the steps, the second takes the others
        stages.insert(0, (arm.first, "first"))
    for settings, name in stages:
        run = RunDir(folder / name)
        stage_steps = steps // 3 if name == "first" else remaining
        remaining -= stage_steps
        if not _is_trained(run):
            overrides = [*SETTINGS, *study.common, *settings, f"towers.pretrained={start.path}@last", f"seed={seed}"]
            config = override(preset_config(arm.preset, "demo"), overrides)
            train(_for_steps(config, pairs, stage_steps), run, quiet=True)
        start = run
    return start


def _for_steps(config: RunConfig, pairs: Path, steps: int) -> RunConfig:
    steps_per_epoch = len(read_rows(pairs)) // config.optim.batch_size
    return override(config, [f"data.train={pairs}", f"optim.epochs={steps / steps_per_epoch!r}"])


def _is_trained(run: RunDir) -> bool:
    checkpoints = checkpoint_names(run)
    if not checkpoints:
        return False
    info = read_info(run, checkpoints[-1])
    return info.step == info.total_steps


class Evaluation:
    """Held-out data sets by purpose (gain, retain, third), opened once for all cells."""

    def __init__(
        self,
        paths: Mapping[str, Path],
        template: Network,
        runtime: Runtime,
        probes: Mapping[str, tuple[Path, Path]] | None = None,
    ) -> None:
        """``template``: a network of the architecture to evaluate. ``probes``: per data set, the images to
        train and to test a linear probe that predicts the group.
        """
        data, towers = preset_config("clip", "demo").data, template.towers

        def open_set(path: Path) -> PairDataset:
            return open_dataset(str(path), data, template.image_size, towers.tokenize, pad_id=towers.pad_id)

        self._runtime = runtime
        self._initial: dict[Path, Metrics] = {}  # base model's folder -> its metrics
        self._sets = {name: open_set(path) for name, path in paths.items()}
        self._probes = {name: (open_set(first), open_set(second)) for name, (first, second) in (probes or {}).items()}

    def measure(self, network: Network) -> dict[str, dict[str, float]]:
        """R@10 (mean of both directions), zero-shot accuracy by concept and its calibration error, of each data set.

        ``probe``: the balanced accuracy of a linear probe.
        """
        metrics = {name: self._measure_set(network, dataset) for name, dataset in self._sets.items()}
        for name, sets in self._probes.items():
            metrics[name]["probe"] = self._probe(network, *sets)
        return metrics

    def _probe(self, network: Network, train: PairDataset, test: PairDataset) -> float:
        """The balanced accuracy of a linear probe of the images' group."""
        train_features, train_labels = self._labelled(network, train)
        test_features, test_labels = self._labelled(network, test)
        classes = tuple(sorted(set(train_labels)))
        result = linear_probe(
            ProbeData(train_features, index_labels(train_labels, classes)),
            ProbeData(test_features, index_labels(test_labels, classes)),
        )
        return result.outcome().metrics["mean_per_class_recall"]

    def _labelled(self, network: Network, dataset: PairDataset) -> tuple[Tensor, list[str]]:
        """The features before the projection, and the groups, of a data set's images."""
        rows, features = [], []
        with evaluating(network), torch.no_grad():
            for batch_rows, pixels in evaluation_batches(dataset, network.image_size, BATCH_SIZE):
                rows += batch_rows.tolist()
                features.append(encode_layers(network, pixels, self._runtime, [UNPROJECTED])[UNPROJECTED])
        return torch.cat(features), [dataset.labels(row)["group"] for row in rows]

    def measure_path(self, tuned: Network, base: RunDir, alphas: Sequence[float]) -> list[PathPoint]:
        """`measure` at each of ``alphas`` from ``base`` to ``tuned``; the base model is evaluated once."""
        initial = open_network(locate(f"{base.path}@last"), CPU)
        if base.path not in self._initial:
            self._initial[base.path] = self.measure(initial)
        points = evaluate_path(tuned, initial, [alpha for alpha in alphas if alpha > 0], self.measure)
        return [PathPoint(0.0, self._initial[base.path]), *points]

    def _measure_set(self, network: Network, dataset: PairDataset) -> dict[str, float]:
        features = encode_dataset(network, dataset, self._runtime, BATCH_SIZE, ignore_progress)
        metrics = retrieval_metrics(features.images, features.texts, features.text_to_image)
        concepts = [dataset.labels(row)["concept"] for row in features.rows.tolist()]
        classes = sorted(set(concepts))
        texts = torch.cat(
            [
                encode_texts(network, classes[start : start + BATCH_SIZE], self._runtime)
                for start in range(0, len(classes), BATCH_SIZE)
            ]
        )
        logits = float(network.logit_scale.detach()) * features.images @ texts.T  # (N, K)
        confidence, predicted = logits.softmax(dim=1).max(dim=1)
        hits = predicted == torch.tensor([classes.index(concept) for concept in concepts])
        return {
            "R@10": (metrics["image_to_text_R@10"] + metrics["text_to_image_R@10"]) / 2,
            "top1": float(hits.double().mean()),
            "ece": calibration_error(confidence, hits),
        }


def calibration_error(confidence: Tensor, hits: Tensor, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error, 0 to 1 (Guo et al. 2017, "On calibration of modern neural networks", equation 3).

    ``confidence`` (N,): probability of each prediction; ``hits`` (N,): whether it was correct. Bins have equal width
    and are weighted by their rows.
    """
    bin_index = (confidence.double() * bins).ceil().long().clamp(1, bins) - 1  # (0, 1/bins], (1/bins, 2/bins], ...
    gaps = torch.zeros(bins, dtype=torch.float64)
    gaps.index_add_(0, bin_index, confidence.double() - hits.double())
    return float(gaps.abs().sum() / max(1, len(confidence)))


def run_cell(
    study: AdaptStudy,
    arm: Arm,
    base: RunDir,
    pairs: Path,
    steps: int,
    seed: int,
    evaluation: Evaluation,
    folder: Path,
) -> dict[str, object]:
    """Train and evaluate one cell in ``folder``, then remove it; returns its curves and the CPU seconds of training."""
    start_time = time.process_time()
    run = train_arm(study, arm, base, pairs, steps, seed, folder)
    seconds = time.process_time() - start_time
    checkpoint = checkpoint_names(run)[-1]
    tuned = open_network(RunNetwork(run, checkpoint, arm.weights), CPU)
    points = evaluation.measure_path(tuned, base, study.alphas)
    shutil.rmtree(folder, ignore_errors=True)
    return {"curve": curve_of(points), "cpu_seconds": round(seconds, 1), "steps": steps}


def curve_of(points: Sequence[PathPoint]) -> Curve:
    """Each measure along a path, in per cent."""
    return {
        f"{name}/{metric}": [round(100 * point.metrics[name][metric], 2) for point in points]
        for name in points[0].metrics
        for metric in points[0].metrics[name]
    }
