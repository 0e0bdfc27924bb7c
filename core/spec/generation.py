"""GenerationSettings: settings of caption decoding. Without torch, so that the window builds its form from it.

Lengths count the caption's tokens including the prompt, without start and end tokens: open_clip's
``seq_len=30, min_seq_len=5`` is ``max_tokens=28, min_tokens=4`` here.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from core.spec.config import Section, Text
from core.spec.config.base import setting
from core.spec.errors import UserError

Search = Literal["greedy", "beam", "sample"]
BeamStop = Literal["enough", "likely", "certain"]


class GenerationError(UserError):
    """Invalid generation settings; the message names the value and the remedy."""


class GenerationSettings(Section):
    """Decoding settings. Captions depend on settings, model and image, not on the batch."""

    search: Search = setting(
        "beam", "Search", "greedy: the most likely token at each step. beam: beam search. sample: random sampling."
    )
    captions: int = setting(1, "Captions", "Candidates per image, best first.", unit="captions", ge=1, le=64)
    prompt: Text = setting("", "Prompt", 'Start of every caption, such as "an image of"; empty for none.')
    max_tokens: int = setting(
        28,
        "Longest caption",
        "Maximum number of tokens, prompt included; the model's context length is a limit too.",
        unit="tokens",
        ge=1,
        le=1024,
    )
    min_tokens: int = setting(
        1, "Shortest caption", "Minimum number of tokens, prompt included.", unit="tokens", ge=0, le=1024
    )
    beams: int = setting(6, "Beams", "Partial captions that beam search keeps per image.", unit="beams", ge=1, le=64)
    beam_stop: BeamStop = setting(
        "likely",
        "Beam search ends",
        "enough: when as many captions as beams are finished. likely: when unfinished ones score lower. "
        "certain: when unfinished ones can no longer win.",
        advanced=True,
    )
    length_penalty: float = setting(
        1.0,
        "Length penalty",
        "Score = log-probability / length to this power; above 0 favours long captions.",
        ge=-4.0,
        le=4.0,
        advanced=True,
    )
    temperature: float = setting(
        1.0, "Temperature", "Sampling: below 1 favours likely tokens, above 1 gives more variety.", gt=0.0, le=100.0
    )
    top_k: int = setting(
        0, "Top k", "Sampling: only from this many most likely tokens; 0 for all.", unit="tokens", ge=0
    )
    top_p: float = setting(
        1.0,
        "Top p",
        "Sampling: only from the most likely tokens of this total probability.",
        unit="probability",
        gt=0.0,
        le=1.0,
    )
    repetition_penalty: float = setting(
        1.0,
        "Repetition penalty",
        "Above 1 makes tokens that the caption already contains less likely; 1 is off.",
        unit="x",
        ge=0.1,
        le=100.0,
    )
    no_repeat_ngram: int = setting(
        0,
        "No repeated phrase of",
        "No n-gram of this many tokens occurs twice in a caption; 0 is off.",
        unit="tokens",
        ge=0,
        le=64,
    )
    seed: int = setting(
        0, "Seed", "Sampling: the same seed gives the same captions for the same image.", ge=0, lt=2**63, advanced=True
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
