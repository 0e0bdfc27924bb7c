"""A query: words and images with weights, negative for what is to be avoided, as one vector.

Flow: panel or terminal -> ``Query`` -> ``Embedder`` -> unit vector -> results. Parts are unit vectors; a query is their
weighted sum, scaled to unit length.

Legend: D embed, P prompts.
"""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from core.data.errors import ImageError
from core.inference.encoder import encode_images, encode_tokens
from core.metrics.classification.prompts import load_templates
from core.search.errors import QueryError
from core.search.index.encoding import Encoder
from core.search.index.nearest import Floats

RAW = "raw"  # no prompt around the words
LONGEST = 10_000  # characters of one text; what is beyond could not count
REMEMBERED = 256  # parts whose vectors are kept, so that each further key press costs one
HEAVIEST = 1e6  # weight of a term; what counts is how it compares with the others
CANCELLED = 0.05  # length of a sum below which its parts have cancelled each other out


@dataclass(frozen=True)
class Term:
    """One part of a query: words, an image's file, or an image of the collection ("more like this")."""

    text: str = ""
    image: str = ""
    row: int = -1
    weight: float = 1.0  # below zero: to be avoided


@dataclass(frozen=True)
class Query:
    """Terms, and the prompts that words are put into: "raw", a bundled set's name, or a file."""

    terms: tuple[Term, ...]
    prompts: str = RAW

    @property
    def kind(self) -> str:
        """Which calibration its scores need: "text" where there are words, else "image"."""
        return "text" if any(term.text for term in self.terms) else "image"


@dataclass
class Embedded:
    """A query as a unit vector (D,), with notes for the user."""

    vector: Floats
    notes: list[str] = field(default_factory=list)


def read_terms(given: Any, sign: float = 1.0) -> list[Term]:
    """Terms from JSON: a text, an object with ``text``, ``image`` or ``row`` and perhaps ``weight``, or a list of them.

    ``sign`` multiplies every weight.

    Raises QueryError for anything else.
    """
    if given is None:
        return []
    if isinstance(given, (str, dict)):
        given = [given]
    if not isinstance(given, (list, tuple)):
        raise QueryError(f"a query holds texts, images and rows, not {given!r}.")
    terms = []
    for one in given:
        fields = {"text": one} if isinstance(one, str) else one
        if not isinstance(fields, dict) or not set(fields) <= {"text", "image", "row", "weight"}:
            raise QueryError(f"a query's part has text, image or row, and weight; not {one!r}.")
        try:
            term = Term(
                str(fields.get("text", "")),
                str(fields.get("image", "")),
                int(fields.get("row", -1)),
                sign * float(fields.get("weight", 1.0)),
            )
        except (TypeError, ValueError) as error:
            raise QueryError(f"a part of the query has the wrong form: {one!r}.") from error
        if not np.isfinite(term.weight):
            raise QueryError(f"the weight {fields.get('weight')!r} is no number.")
        if term.text.strip() or term.image or term.row >= 0:
            terms.append(term)
    return terms


class Embedder:
    """Turns queries into vectors with one model; caches the most recent terms."""

    def __init__(self, encoder: Encoder, vector_of_row: Callable[[int], Floats]) -> None:
        self._encoder, self._vector_of_row = encoder, vector_of_row
        self._known: OrderedDict[tuple[str, str, str], tuple[Floats, list[str]]] = OrderedDict()

    def embed(self, query: Query) -> Embedded:
        """The weighted sum of the terms' unit vectors, scaled to unit length.

        Raises QueryError when there is nothing to search for, an image cannot be read, or the terms cancel out.
        """
        if not query.terms:
            raise QueryError("there is nothing to search for; type some words, or choose an image.")
        total = np.zeros(self._encoder.identity.dim, np.float32)
        longest = 0.0
        notes: list[str] = []
        for term in query.terms:
            if not abs(term.weight) <= HEAVIEST:
                raise QueryError(f"the weight {term.weight:g} is beyond {HEAVIEST:,.0f}; give one such as 0.5.")
            vector, term_notes = self._term(term, query.prompts)
            total += np.float32(term.weight) * vector
            longest = max(longest, abs(term.weight))
            notes += [note for note in term_notes if note not in notes]
        length = float(np.linalg.norm(total))
        if not np.isfinite(length):
            raise QueryError(
                f"{self._encoder.identity.title} encodes the query into values that are not numbers; its weights are "
                "damaged, or its training diverged: choose another checkpoint."
            )
        if length <= CANCELLED * longest:
            raise QueryError("the parts of the query cancel each other out; change a weight or take one away.")
        return Embedded(total / np.float32(length), notes)

    def _term(self, term: Term, prompts: str) -> tuple[Floats, list[str]]:
        if term.row >= 0:
            return self._vector_of_row(term.row), []
        key = (term.text, term.image, prompts if term.text else "")
        if key not in self._known:
            self._known[key] = self._image(term.image) if term.image else self._words(term.text, prompts)
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return self._known[key]

    def _image(self, path: str) -> tuple[Floats, list[str]]:
        try:
            image = self._encoder.image(path)
        except ImageError as error:
            raise QueryError(f"the image {path} cannot be searched for: {error}.") from error
        model = self._encoder.model
        vector: Floats = encode_images(model.network, image[None], model.runtime)[0].numpy()
        return vector, []

    def _words(self, text: str, prompts: str) -> tuple[Floats, list[str]]:
        """The mean of the words' prompts, scaled to unit length."""
        words, notes = plain(text)
        if not words:
            raise QueryError("the query has no letter or sign that can be searched for; type some words.")
        templates = ("{}",) if prompts in ("", RAW) else load_templates(prompts)
        tokens = self._encoder.tokens([template.replace("{}", words) for template in templates])
        if tokens.shape[1] >= self._encoder.model.network.towers.context_length:
            notes.append(f"the query is long: the model reads its first {tokens.shape[1]} tokens only.")
        model = self._encoder.model
        vectors = torch.cat([encode_tokens(model.network, part, model.runtime) for part in tokens.split(64)])  # (P, D)
        vector: Floats = torch.nn.functional.normalize(vectors.mean(0), dim=0).numpy()
        return vector, notes


def plain(text: str) -> tuple[str, list[str]]:
    """``text`` on one line, as composed Unicode without control characters; and notes on what was changed."""
    notes = []
    words = " ".join(text[:LONGEST].encode("utf-8", "replace").decode().replace("\0", " ").split())
    words = unicodedata.normalize("NFC", words)
    if len(text) > LONGEST:
        notes.append(f"the query has {len(text)} characters; the first {LONGEST} are read.")
    script = _script(words)
    if script:
        notes.append(
            f"the query is written in {script} script; a model that was trained on captions in Latin script "
            "makes little of it."
        )
    return words, notes


def _script(words: str) -> str:
    """The script of most letters when that is not Latin, such as "Cyrillic"; else ""."""
    letters = [letter for letter in words if letter.isalpha()]
    scripts = [unicodedata.name(letter, "unknown").split()[0] for letter in letters]
    if not scripts:
        return ""
    most = max(set(scripts), key=scripts.count)
    return "" if most == "LATIN" else {"CJK": "Chinese"}.get(most, most.capitalize())
