"""How much each pair counts: pairs that are likely mislabelled are down-weighted or left out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.spec.config.base import Section, Share, shown


class BeliefConfig(Section):
    """Evidence that each pair matches, collected over training, and the treatment of likely mislabelled pairs."""

    trust: Share = Field(
        0.0,
        title="Trust",
        description="Each pair is weighted by the teacher's probability for it, to this power. 0: all count alike; "
        "0.5: pairs that the teacher finds unlikely hardly count.",
        json_schema_extra=shown("power"),
    )
    trust_by: Literal["teacher", "student"] = Field(
        "teacher",
        title="Whose trust",
        description="teacher: its probability, which is steadier. student: its own of the same step, without a teacher "
        "(generalised cross-entropy, Zhang and Sabuncu 2018).",
        json_schema_extra=shown("", advanced=True),
    )
    prior: Literal["none", "words"] = Field(
        "none",
        title="Left out beforehand",
        description="words: pairs whose caption more likely belongs to another image are filtered out before training, "
        "judged by the colours and edges of all other images, without a network. Each image is looked at once; where "
        "captions are clean, hardly a pair is dropped.",
        json_schema_extra=shown(""),
    )
    action: Literal["none", "watch", "drop", "weigh"] = Field(
        "none",
        title="Likely mislabelled pairs",
        description="watch: only record how likely each pair matches; drop: train without likely mislabelled pairs; "
        "weigh: weight each pair by its probability of being right.",
        json_schema_extra=shown(""),
    )
    begin: Share = Field(
        0.25,
        title="Begin after",
        description="Share of training before pairs are down-weighted; clean pairs are learnt first.",
        json_schema_extra=shown("share of steps"),
    )
    refresh: float = Field(
        1.0,
        gt=0.0,
        le=1000.0,
        title="Re-evaluate every",
        description="How often all pairs are evaluated again.",
        json_schema_extra=shown("epochs", advanced=True),
    )
    share: Share = Field(
        0.0,
        title="Mislabelled share",
        description="Share of mislabelled pairs, where it is known; 0: estimated by a mixture of two components.",
        json_schema_extra=shown("share"),
    )
    most: Share = Field(
        0.5,
        title="At most",
        description="Upper bound on the share of pairs treated as mislabelled, whatever the estimate.",
        json_schema_extra=shown("share", advanced=True),
    )
