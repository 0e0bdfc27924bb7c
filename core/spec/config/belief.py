"""Whom the teacher believes: pairs whose caption does not seem to be theirs count less."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.spec.config.base import Section, Share, shown


class BeliefConfig(Section):
    """A memory of how well each pair fits the others, and what is done with those that do not."""

    trust: Share = Field(
        0.0,
        title="Trust",
        description="Each pair counts as the teacher's probability for it, to this power: 0 trusts all alike, 0.5 "
        "hardly learns what the teacher thinks unlikely. Needs a teacher.",
        json_schema_extra=shown("power"),
    )
    action: Literal["none", "watch", "drop", "weigh"] = Field(
        "none",
        title="Doubted pairs",
        description="watch: note how far each pair is believed; drop: train without those that seem wrong; weigh: each "
        "counts as probable as it is right.",
        json_schema_extra=shown(""),
    )
    begin: Share = Field(
        0.25,
        title="Begin after",
        description="Share of training in which every pair is believed; what is learnt first is seldom wrong.",
        json_schema_extra=shown("share of steps"),
    )
    refresh: float = Field(
        1.0,
        gt=0.0,
        le=1000.0,
        title="Judge every",
        description="How often all pairs are judged anew.",
        json_schema_extra=shown("epochs", advanced=True),
    )
    share: Share = Field(
        0.0,
        title="Wrong pairs",
        description="How many pairs are wrong, where that is known; 0: estimated by a mixture of two components.",
        json_schema_extra=shown("share"),
    )
    most: Share = Field(
        0.5,
        title="Doubt at most",
        description="No more pairs than this are doubted, whatever the estimate says.",
        json_schema_extra=shown("share", advanced=True),
    )
