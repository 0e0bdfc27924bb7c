"""GenerationSettings: settings of caption decoding. No torch, so that the window can build its form from them.

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
        "beam",
        "Search",
        "greedy takes the most likely token at each step. beam is beam search. sample draws tokens at random.",
    )
    captions: int = setting(1, "Captions", "Number of candidates per image, best first.", unit="captions", ge=1, le=64)
    prompt: Text = setting("", "Prompt", 'Start of every caption, such as "an image of". Optional.')
    max_tokens: int = setting(
        28,
        "Longest caption",
        "Maximum number of tokens, including the prompt. The model's context length is a limit too.",
        unit="tokens",
        ge=1,
        le=1024,
    )
    min_tokens: int = setting(
        1, "Shortest caption", "Minimum number of tokens, including the prompt.", unit="tokens", ge=0, le=1024
    )
    beams: int = setting(
        6, "Beams", "Number of partial captions that beam search keeps per image.", unit="beams", ge=1, le=64
    )
    beam_stop: BeamStop = setting(
        "likely",
        "Beam search ends",
        "enough: as many captions as beams are finished. likely: unfinished captions score lower. certain: unfinished "
        "captions can no longer win.",
        advanced=True,
    )
    length_penalty: float = setting(
        1.0,
        "Length penalty",
        "Score = log-probability / length to this power. A value above 0 favours long captions.",
        ge=-4.0,
        le=4.0,
        advanced=True,
    )
    temperature: float = setting(
        1.0,
        "Temperature",
        "Below 1, likely tokens are favoured; above 1, captions vary more. Used only for sampling.",
        gt=0.0,
        le=100.0,
    )
    top_k: int = setting(
        0,
        "Top k",
        "Number of most likely tokens to sample from; 0 uses all. Used only for sampling.",
        unit="tokens",
        ge=0,
    )
    top_p: float = setting(
        1.0,
        "Top p",
        "Total probability of the most likely tokens to sample from. Used only for sampling.",
        unit="probability",
        gt=0.0,
        le=1.0,
    )
    repetition_penalty: float = setting(
        1.0,
        "Repetition penalty",
        "Above 1, tokens that the caption already contains become less likely. 1 turns it off.",
        unit="x",
        ge=0.1,
        le=100.0,
    )
    no_repeat_ngram: int = setting(
        0,
        "No repeated n-grams",
        "Length of the n-grams that may not occur twice in a caption. 0 turns it off.",
        unit="tokens",
        ge=0,
        le=64,
    )
    seed: int = setting(
        0,
        "Seed",
        "With the same seed, an image gets the same captions. Used only for sampling.",
        ge=0,
        lt=2**63,
        advanced=True,
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.min_tokens > self.max_tokens:
            raise ValueError(
                f"min_tokens {self.min_tokens} is above max_tokens {self.max_tokens}; lower min_tokens, or raise "
                "max_tokens."
            )
        if self.search == "greedy" and self.captions > 1:
            raise ValueError(
                f"greedy search gives 1 caption, not {self.captions}; set search to beam or sample for more."
            )
        if self.search == "beam" and self.captions > self.beams:
            raise ValueError(
                f"{self.beams} beams cannot give {self.captions} captions; raise beams to {self.captions}."
            )
        return self
