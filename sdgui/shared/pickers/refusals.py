"""Why a definition cannot train on its data, at the field to mend, before it is launched. Free of Qt.

Flow: ``DataCheck`` asks the worker what each source holds -> ``refusals`` -> the form and Launch, which makes no run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from core.spec.config import RunConfig
from sdgui.widgets.formats import count
from sdgui.worker.replies import Cancelled, Failure, Lost
from sdgui.worker.verbs import SourceFacts

FIELDS = ("data.train", "data.val", "data.test")
Known: TypeAlias = Mapping[str, SourceFacts | Failure]  # source -> what it holds, or why it cannot be used


def sources(config: RunConfig) -> dict[str, str]:
    """Dotted field -> the source that it names, of the fields that name one."""
    data = config.data
    named = zip(FIELDS, (data.train, data.val, data.test), strict=True)
    return {field: source.strip() for field, source in named if source.strip()}


def refusals(config: RunConfig, known: Known) -> dict[str, str]:
    """Dotted field -> a sentence with the remedy; empty when nothing is known to be against training.

    A source that ``known`` does not hold is taken to be usable, and so is one that the worker could not judge.
    """
    found: dict[str, str] = {}
    named = sources(config)
    if "data.train" not in named:
        found["data.train"] = "No training data is named; choose a table, a folder of captioned pictures, or shards."
    for field, source in named.items():
        facts = known.get(source)
        if facts is None:
            continue
        problem = _verdict(facts) if isinstance(facts, Failure) else _unusable(source, facts, config)
        if problem:
            found[field] = problem
    train = known.get(named.get("data.train", ""))
    if "data.train" not in found and train is not None and not isinstance(train, Failure):
        found |= _of_training(train, config)
    return found


def _verdict(failure: Failure) -> str:
    """What the worker has against the data; "" where it failed for a reason of its own."""
    if failure.details or isinstance(failure, (Cancelled, Lost)):
        return ""
    return failure.text


def _unusable(source: str, facts: SourceFacts, config: RunConfig) -> str:
    if not facts["pairs"]:
        return (
            f"{source} holds {count(facts['pictures'])} pictures and no caption; caption them first, or name a table "
            "that has captions."
        )
    bad, rows, allowed = facts["bad"], facts["pictures"] + facts["bad"], config.data.max_bad_share
    if bad / rows > allowed:
        first = f" The first: {facts['reasons'][0]}" if facts["reasons"] else ""
        return (
            f"{count(bad)} of the {count(rows)} rows of {source} cannot be used, more than the {100 * allowed:g} % "
            f"allowed; mend them, or raise data.max_bad_share.{first}"
        )
    return ""


def _of_training(facts: SourceFacts, config: RunConfig) -> dict[str, str]:
    """What the training data lack for these settings."""
    found: dict[str, str] = {}
    label, labels = config.data.label, facts["labels"]
    if label and label not in labels and not facts.get("sampled", False):
        there = ", ".join(map(repr, labels)) or "none"
        found["data.label"] = f"The training data have no label {label!r}; they have {there}."
    elif label in labels and labels[label] < 2:
        found["data.label"] = f"The label {label!r} has {labels[label]} value, and telling classes apart needs two."
    if config.optim.batch_size > facts["pictures"]:
        found["optim.batch_size"] = (
            f"A batch of {count(config.optim.batch_size)} is larger than the {count(facts['pictures'])} pictures of "
            f"the training data; set at most {count(facts['pictures'])}."
        )
    return found
