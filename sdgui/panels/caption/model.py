"""One image of the Caption panel's list, with the captions of up to two models. No Qt; frozen, so that undo keeps it.

Flow: worker's answers -> ``ModelCaptions`` -> ``Entry`` -> table, detail, export; ``to_kept_caption`` and ``entry_of``
convert an entry to and from the store's record.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from core.spec.caption_files import Candidate, CaptionedImage
from sdgui.store.captions import StoredCaption
from sdgui.worker.verbs import CaptionText

Side = Literal["a", "b"]
SIDES: tuple[Side, Side] = ("a", "b")
_MAX_NUMBER = 1e300  # larger numbers are not displayed
HAND_WRITTEN = "hand"  # author of a caption written by hand
State = Literal["waiting", "captioned", "edited", "failed"]
STATE_TEXTS: dict[State, str] = {
    "waiting": "without a caption",
    "captioned": "captioned",
    "edited": "edited by hand",
    "failed": "failed",
}


@dataclass(frozen=True)
class ModelCaptions:
    """One model's candidates, best first, and the key of their origin (model, weights, settings)."""

    origin: str
    candidates: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate | None:
        return self.candidates[0] if self.candidates else None


@dataclass(frozen=True)
class Entry:
    """One image. ``position``: its place in the list, ascending; ``text``: the caption to export.

    ``author``: who wrote ``text``: a side, ``HAND_WRITTEN``, or "" if there is no caption.
    ``error``: why captioning failed.
    """

    path: str
    position: int
    text: str = ""
    author: str = ""
    error: str = ""
    captions: Mapping[Side, ModelCaptions] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.rpartition(os.sep)[2]  # faster than Path, for lists of 100,000

    @property
    def state(self) -> State:
        if self.author == HAND_WRITTEN:
            return "edited"
        if self.error and not self.text:
            return "failed"
        return "captioned" if self.text else "waiting"

    def candidate(self) -> Candidate | None:
        """The candidate that ``text`` was taken from; None for a text written by hand."""
        if self.author == HAND_WRITTEN:
            return None
        for side in (self.author, *SIDES):
            for candidate in self.captions[side].candidates if side in SIDES and side in self.captions else ():
                if candidate.text == self.text:
                    return candidate
        return None

    def with_text(self, text: str, author: str) -> Entry:
        return replace(self, text=text, author=author)

    def with_captions(self, side: Side, captions: ModelCaptions) -> Entry:
        """The entry with a model's captions: text written by hand is kept, otherwise the first model's best is used."""
        entry = replace(self, captions={**self.captions, side: captions}, error="")
        # the first model has priority, even if the second model's captions arrived earlier
        is_first_of_a = side == "a" and entry.author == "b" and "a" not in self.captions
        may_replace = entry.author in ("", side) or is_first_of_a
        return entry.with_text(captions.best.text, side) if may_replace and captions.best is not None else entry

    def with_error(self, reason: str) -> Entry:
        """The entry with the reason why captioning failed; the caption is kept."""
        return replace(self, error=reason)

    def differs(self) -> bool:
        """Whether the two models' best captions differ."""
        first, second = (self.captions[side].best if side in self.captions else None for side in SIDES)
        return first is not None and second is not None and first.text != second.text


def model_captions(origin: str, captions: Sequence[CaptionText]) -> ModelCaptions:
    """The worker's captions of one image as candidates."""
    rows = [(str(caption["text"]), caption.get("log_prob"), caption.get("score")) for caption in captions]
    return ModelCaptions(
        origin, tuple(Candidate(text, number(log_prob), number(score)) for text, log_prob, score in rows)
    )


def number(raw: object) -> float | None:
    """``raw`` if it is a finite number, otherwise None."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        return None
    return raw if -_MAX_NUMBER <= raw <= _MAX_NUMBER else None


def origin_key(content: Mapping[str, Any]) -> str:
    """A short name for a model with its weights and settings."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def provenance(entry: Entry, origins: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The provenance of an entry's caption; ``edited`` if it was written by hand over a model's caption."""
    side = entry.author if entry.author in SIDES else next((name for name in SIDES if name in entry.captions), "")
    about = dict(origins.get(entry.captions[side].origin, {})) if side in SIDES and side in entry.captions else {}
    return {**about, "edited": True} if entry.author == HAND_WRITTEN else about


def to_captioned_image(entry: Entry, origins: Mapping[str, Mapping[str, Any]]) -> CaptionedImage:
    """The entry in the form that the exporters expect."""
    candidate = entry.candidate() or Candidate(entry.text)
    return CaptionedImage(entry.path, (candidate,), provenance(entry, origins))


def to_kept_caption(entry: Entry) -> StoredCaption:
    """The store's record of an entry."""
    captions_json: dict[str, Any] = {
        side: {"origin": captions.origin, "captions": [[c.text, c.log_prob, c.score] for c in captions.candidates]}
        for side, captions in entry.captions.items()
    }
    return StoredCaption(entry.path, entry.position, entry.text, entry.author, entry.error, captions_json)


def entry_of(record: StoredCaption) -> Entry:
    """The entry of a store's record; unreadable candidates are skipped."""
    captions: dict[Side, ModelCaptions] = {}
    for side in SIDES:
        raw = record.made.get(side)
        if isinstance(raw, dict):
            listed = raw.get("captions")
            rows = [c for c in listed if isinstance(c, list) and len(c) == 3] if isinstance(listed, list) else []
            candidates = tuple(Candidate(str(text), number(p), number(score)) for text, p, score in rows)
            captions[side] = ModelCaptions(str(raw.get("origin", "")), candidates)
    return Entry(record.path, record.position, record.text, record.origin, record.refused, captions)
