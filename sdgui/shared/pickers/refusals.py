"""Why a config cannot train on its data, by the field to fix, before launch. No Qt.

Flow: ``DataCheck`` asks the worker about each source -> ``refusals`` -> the form; Launch then creates no run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from core.spec.config import RunConfig
from sdgui.widgets.formats import count, count_with_unit
from sdgui.worker.replies import Cancelled, Failure, Lost
from sdgui.worker.verbs import SourceFacts

DATA_FIELDS = ("data.train", "data.val", "data.test")
FactsBySource: TypeAlias = Mapping[str, SourceFacts | Failure]  # source -> its contents, or why it cannot be used


def sources(config: RunConfig) -> dict[str, str]:
    """The data sources in a config, by dotted field name."""
    data = config.data
    named_sources = zip(DATA_FIELDS, (data.train, data.val, data.test), strict=True)
    return {field: source.strip() for field, source in named_sources if source.strip()}


def refusals(config: RunConfig, facts_by_source: FactsBySource) -> dict[str, str]:
    """Problems with their remedies, by dotted field name; empty if no problem is known.

    Sources that are missing from ``facts_by_source``, or that the worker failed to read, count as usable.
    """
    problems: dict[str, str] = {}
    named_sources = sources(config)
    if "data.train" not in named_sources:
        problems["data.train"] = "No training data is set; choose a table, a folder of captioned images, or shards."
    for field, source in named_sources.items():
        facts = facts_by_source.get(source)
        if facts is None:
            continue
        problem = _verdict(facts) if isinstance(facts, Failure) else _unusable(source, facts, config)
        if problem:
            problems[field] = problem
    train = facts_by_source.get(named_sources.get("data.train", ""))
    if "data.train" not in problems and train is not None and not isinstance(train, Failure):
        problems |= _training_problems(train, config)
    return problems


def _verdict(failure: Failure) -> str:
    """The problem that the worker found in the data; "" if the worker itself failed."""
    if failure.details or isinstance(failure, (Cancelled, Lost)):
        return ""
    return failure.text


def _unusable(source: str, facts: SourceFacts, config: RunConfig) -> str:
    images = count_with_unit(facts["images"], "image")
    if not facts["pairs"]:
        return f"{source} contains {images} but no captions; caption them first, or choose a table with captions."
    bad_rows, rows, allowed = facts["bad"], facts["images"] + facts["bad"], config.data.max_bad_share
    if bad_rows / rows > allowed:
        first = f" The first: {facts['reasons'][0]}" if facts["reasons"] else ""
        return (
            f"{count(bad_rows)} of the {count_with_unit(rows, 'row')} of {source} cannot be used, more than the "
            f'{100 * allowed:g} % allowed. Fix them or raise "Max bad rows".{first}'
        )
    return ""


def _training_problems(facts: SourceFacts, config: RunConfig) -> dict[str, str]:
    """Problems of the training data with these settings."""
    problems: dict[str, str] = {}
    label, labels = config.data.label, facts["labels"]
    if label and label not in labels and not facts.get("labels_unknown", False):
        available = ", ".join(map(repr, labels)) or "none"
        problems["data.label"] = f"The training data has no label {label!r}; available: {available}."
    elif label in labels and labels[label] < 2:
        problems["data.label"] = (
            f"The label {label!r} has only {count_with_unit(labels[label], 'value')}; classification needs two or more."
        )
    if config.optim.batch_size > facts["images"]:
        problems["optim.batch_size"] = (
            f"A batch of {count(config.optim.batch_size)} is larger than the training data, which has "
            f"{count_with_unit(facts['images'], 'image')}; set at most {count(facts['images'])}."
        )
    return problems
