"""GenerationSettings: settings of caption decoding. Without torch, so that the window builds its form from it.

Lengths count the caption's tokens including the prompt, without start and end tokens: open_clip's
``seq_len=30, min_seq_len=5`` is ``max_tokens=28, min_tokens=4`` here.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from core.spec.config import Section, Text
from core.spec.errors import UserError

Search = Literal["greedy", "beam", "sample"]
BeamStop = Literal["enough", "likely", "certain"]


class GenerationError(UserError):
    """Invalid generation settings; the message names the value and the remedy."""


def _unit(unit: str, advanced: bool = False) -> dict[str, Any]:
    """Extra properties for the form: the unit after the value, and whether it is under *More*."""
    return {"unit": unit, "advanced": True} if advanced else {"unit": unit}


class GenerationSettings(Section):
    """Decoding settings. Captions depend on settings, model and image, not on the batch."""

    search: Search = Field(
        "beam",
        title="Search",
        description="greedy: the most likely token at each step. beam: beam search. sample: random sampling.",
        json_schema_extra=_unit(""),
    )
    captions: int = Field(
        1,
        ge=1,
        le=64,
        title="Captions",
        description="Candidates per image, best first.",
        json_schema_extra=_unit("captions"),
    )
    prompt: Text = Field(
        "",
        title="Prompt",
        description='Start of every caption, such as "an image of"; empty for none.',
        json_schema_extra=_unit(""),
    )
    max_tokens: int = Field(
        28,
        ge=1,
        le=1024,
        title="Longest caption",
        description="Maximum number of tokens, prompt included; the model's context length is a limit too.",
        json_schema_extra=_unit("tokens"),
    )
    min_tokens: int = Field(
        1,
        ge=0,
        le=1024,
        title="Shortest caption",
        description="Minimum number of tokens, prompt included.",
        json_schema_extra=_unit("tokens"),
    )
    beams: int = Field(
        6,
        ge=1,
        le=64,
        title="Beams",
        description="Partial captions that beam search keeps per image.",
        json_schema_extra=_unit("beams"),
    )
    beam_stop: BeamStop = Field(
        "likely",
        title="Beam search ends",
        description="enough: when as many captions as beams are finished. likely: when unfinished ones score lower. "
        "certain: when unfinished ones can no longer win.",
        json_schema_extra=_unit("", advanced=True),
    )
    length_penalty: float = Field(
        1.0,
        ge=-4.0,
        le=4.0,
        title="Length penalty",
        description="Score = log-probability / length to this power; above 0 favours long captions.",
        json_schema_extra=_unit("", advanced=True),
    )
    temperature: float = Field(
        1.0,
        gt=0.0,
        le=100.0,
        title="Temperature",
        description="Sampling: below 1 favours likely tokens, above 1 gives more variety.",
        json_schema_extra=_unit(""),
    )
    top_k: int = Field(
        0,
        ge=0,
        title="Top k",
        description="Sampling: only from this many most likely tokens; 0 for all.",
        json_schema_extra=_unit("tokens"),
    )
    top_p: float = Field(
        1.0,
        gt=0.0,
        le=1.0,
        title="Top p",
        description="Sampling: only from the most likely tokens of this total probability.",
        json_schema_extra=_unit("probability"),
    )
    repetition_penalty: float = Field(
        1.0,
        ge=0.1,
        le=100.0,
        title="Repetition penalty",
        description="Above 1 makes tokens that the caption already contains less likely; 1 is off.",
        json_schema_extra=_unit("x"),
    )
    no_repeat_ngram: int = Field(
        0,
        ge=0,
        le=64,
        title="No repeated phrase of",
        description="No n-gram of this many tokens occurs twice in a caption; 0 is off.",
        json_schema_extra=_unit("tokens"),
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**63,
        title="Seed",
        description="Sampling: the same seed gives the same captions for the same image.",
        json_schema_extra=_unit("", advanced=True),
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.min_tokens > self.max_tokens:
            raise ValueError(
                f"min_tokens {self.min_tokens} is above max_tokens {self.max_tokens}; lower it, or raise the other."
            )
        if self.search == "greedy" and self.captions > 1:
            raise ValueError(
                f"a greedy search gives 1 caption, not {self.captions}; choose the search beam or sample for more."
            )
        if self.search == "beam" and self.captions > self.beams:
            raise ValueError(
                f"{self.beams} beams cannot give {self.captions} captions; raise beams to {self.captions}."
            )
        return self
