"""Maps metrics to plots: which metrics share a plot, its title and its section. Plain data, no Qt.

Metrics have the names used in events: ``train/loss``, ``train/lr``, ``diag/teacher_entropy``,
``val/student/image_to_text_R@1``. Student and teacher of the same validation metric share a plot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from core.spec.run.metric_names import is_share
from sdgui.widgets.formats import metric_title
from sdgui.widgets.plot_axes import AxisKind

SECTIONS = ("Losses", "Validation", "Diagnostics", "Speed and rates", "System", "Other")

_TITLES = {
    "train/loss": "Total loss",
    "train/contrastive": "Contrastive loss",
    "train/distill_similarity": "Similarity distillation",
    "train/distill_prototypes": "Prototype distillation",
    "train/lr": "Learning rate",
    "train/pairs_per_s": "Pairs per second",
    "train/grad_norm": "Gradient norm",
    "train/momentum": "Teacher momentum",
    "runtime/data_wait": "Share of time spent waiting for data",
    "runtime/mfu": "Model FLOPs utilisation (MFU)",
    "runtime/memory_gib": "Memory in use (GiB)",
}  # other metrics get a title made from their name
_RATES = ("train/lr", "train/pairs_per_s", "train/grad_norm", "train/momentum")
_ANCESTORS = "\tancestors"  # suffix of an ``ancestors_key``
_NETWORKS = ("student", "teacher")
_UNITS = {"_percent": "%", "_gib": "GiB", "_mb_per_s": "MB/s", "_w": "W", "_c": "°C"}


@dataclass(frozen=True)
class Chart:
    """One plot. ``id``: the same for all metrics that share the plot."""

    id: str
    title: str
    section: str
    kind: AxisKind = "value"

    @property
    def smoothable(self) -> bool:
        """Whether smoothing helps: validations have few points, each an independent measurement."""
        return self.section != "Validation"


def chart_of(metric: str) -> Chart:
    """The plot that a metric belongs to."""
    prefix, _, name = metric.partition("/")
    network, _, measure = name.partition("/")
    if prefix == "val" and network in _NETWORKS and measure:
        return Chart(f"val/{measure}", metric_title(measure), "Validation", "share" if is_share(metric) else "value")
    if prefix == "val":
        return Chart(metric, metric_title(name or metric), "Validation", "share" if is_share(metric) else "value")
    if metric in _RATES or prefix == "runtime":
        return Chart(metric, _TITLES.get(metric, metric_title(name)), "Speed and rates")
    if prefix == "train":
        return Chart(metric, _TITLES.get(metric, metric_title(name)), "Losses")
    if prefix == "diag":
        return Chart(metric, metric_title(name), "Diagnostics")
    if prefix == "system":
        return Chart(metric, _system_title(name), "System")
    return Chart(metric, metric_title(name or metric), "Other")


def role_of(metric: str) -> str:
    """``student`` or ``teacher`` if the metric belongs to one of them, otherwise ""."""
    parts = metric.split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "val" and parts[1] in _NETWORKS else ""


def curve_key(run: str, metric: str) -> str:
    """The key of the curve of a run in all plots; ends with the role."""
    return f"{run}\n{chart_of(metric).id}\n{role_of(metric)}"


def ancestors_key(run: str) -> str:
    """The legend key of the ancestors of ``run``: all runs that it continues share one entry and one paler curve."""
    return run + _ANCESTORS


def is_ancestors_key(key: str) -> bool:
    """Whether ``key`` is an ``ancestors_key``, not the key of a run."""
    return key.endswith(_ANCESTORS)


def curve_name(run: str, curve: str) -> str:
    """The name of the curve with this key."""
    role = curve.rpartition("\n")[2]
    return f"{run}, {role}" if role else run


def sort_charts(charts: Iterable[Chart]) -> list[Chart]:
    """Sort by section, then the total loss first and the others by name, with numbers in order (R@5 before R@10)."""
    return sorted(
        set(charts), key=lambda chart: (SECTIONS.index(chart.section), chart.id != "train/loss", _natural(chart.id))
    )


def _natural(text: str) -> list[tuple[int, str]]:
    head, _, tail = text.partition("@")
    return [(0, head), (int(tail), "") if tail.isdigit() else (0, tail)]


def _system_title(name: str) -> str:
    """``gpu0_memory_gib`` as "GPU 0 memory (GiB)", ``rank1/process_cpu_percent`` as "Rank 1 process CPU (%)"."""
    ending = next((ending for ending in _UNITS if name.endswith(ending)), "")
    unit = f" ({_UNITS[ending]})" if ending else ""
    spaced = re.sub(r"(gpu|rank)(\d+)", r"\1 \2", metric_title(name.removesuffix(ending)), flags=re.IGNORECASE)
    return re.sub(r"(?<![a-z])[cg]pu(?![a-z])", lambda match: match[0].upper(), spaced, flags=re.IGNORECASE) + unit
