"""Embeds a query, which consists of weighted texts and images, as one vector. Negative weights avoid a term.

Flow: panel or terminal -> ``Query`` -> ``Embedder`` -> unit vector -> results. A query is the weighted sum of its
terms' unit vectors, normalised.

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

NO_TEMPLATE = "raw"  # use no prompt template
MAX_TEXT_LENGTH = 10_000  # characters per text; the tokenizer would truncate a longer text anyway
MAX_CACHED = 256  # terms with cached vectors, so that each key press encodes only one term
MAX_WEIGHT = 1e6
MIN_LENGTH = 0.05  # length of the sum, relative to the largest weight, below which the terms cancel out


@dataclass(frozen=True)
class Term:
    """A term of a query: text, an image file, or an image of the collection ("more like this")."""

    text: str = ""
    image: str = ""
    row: int = -1
    weight: float = 1.0  # negative: to be avoided


@dataclass(frozen=True)
class Query:
    """Terms, and the prompt templates for text: "raw", the name of a bundled set, or a file."""

    terms: tuple[Term, ...]
    prompts: str = NO_TEMPLATE

    @property
    def kind(self) -> str:
        """The calibration for the query's scores: "text" if the query contains text, otherwise "image"."""
        return "text" if any(term.text for term in self.terms) else "image"


@dataclass
class EmbeddedQuery:
    """A query as a unit vector (D,), with notes for the user."""

    vector: Floats
    notes: list[str] = field(default_factory=list)


def read_terms(raw: Any, sign: float = 1.0, bare_field: str = "text") -> list[Term]:
    """Parse terms in JSON: an object with ``text``, ``image`` or ``row`` and optionally ``weight``; or a bare
    string or number, which is the value of ``bare_field``; or a list of these.

    ``sign`` multiplies every weight. Raises QueryError for anything else.
    """
    if raw is None:
        return []
    if isinstance(raw, (str, int, dict)):
        raw = [raw]
    if not isinstance(raw, (list, tuple)):
        raise QueryError(f"a query consists of texts, images and rows, not {raw!r}.")
    terms = []
    for raw_term in raw:
        fields = {bare_field: raw_term} if isinstance(raw_term, (str, int)) else raw_term
        if not isinstance(fields, dict) or not set(fields) <= {"text", "image", "row", "weight"}:
            raise QueryError(f"a term must have text, image or row, and may have a weight; {raw_term!r} is not valid.")
        try:
            term = Term(
                str(fields.get("text", "")),
                str(fields.get("image", "")),
                int(fields.get("row", -1)),
                sign * float(fields.get("weight", 1.0)),
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise QueryError(f"invalid term in the query: {raw_term!r}.") from error
        if term.text.strip() or term.image or term.row >= 0:
            terms.append(term)
    return terms


class Embedder:
    """Embeds queries with one model; caches the most recent terms."""

    def __init__(self, encoder: Encoder, vector_of_row: Callable[[int], Floats]) -> None:
        self._encoder, self._vector_of_row = encoder, vector_of_row
        self._cache: OrderedDict[tuple[str, str, str], tuple[Floats, list[str]]] = OrderedDict()

    def embed(self, query: Query) -> EmbeddedQuery:
        """The weighted sum of the terms' unit vectors, scaled to unit length.

        Raises QueryError for an empty query, an unreadable image, or terms that cancel out.
        """
        if not query.terms:
            raise QueryError("the query is empty; enter text, or choose an image.")
        total = np.zeros(self._encoder.identity.dim, np.float32)
        longest = 0.0
        notes: list[str] = []
        for term in query.terms:
            if not abs(term.weight) <= MAX_WEIGHT:
                raise QueryError(f"the weight {term.weight:g} is above {MAX_WEIGHT:,.0f}; use a weight such as 0.5.")
            vector, term_notes = self._embed_term(term, query.prompts)
            total += np.float32(term.weight) * vector
            longest = max(longest, abs(term.weight))
            notes += [note for note in term_notes if note not in notes]
        length = float(np.linalg.norm(total))
        if not np.isfinite(length):
            raise QueryError(
                f"{self._encoder.identity.title} computes non-finite values for the query: the weights are damaged, or "
                "the training diverged. Choose another checkpoint."
            )
        if length <= MIN_LENGTH * longest:
            raise QueryError("the terms of the query cancel out; change a weight or remove a term.")
        return EmbeddedQuery(total / np.float32(length), notes)

    def _embed_term(self, term: Term, prompts: str) -> tuple[Floats, list[str]]:
        if term.row >= 0:
            return self._vector_of_row(term.row), []
        key = (term.text, term.image, prompts if term.text else "")
        if key not in self._cache:
            self._cache[key] = self._embed_image(term.image) if term.image else self._embed_text(term.text, prompts)
        self._cache.move_to_end(key)
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return self._cache[key]

    def _embed_image(self, path: str) -> tuple[Floats, list[str]]:
        try:
            image = self._encoder.image(path)
        except ImageError as error:
            raise QueryError(f"the image {path} cannot be searched for: {error}.") from error
        model = self._encoder.model
        vector: Floats = encode_images(model.network, image[None], model.runtime)[0].numpy()
        return vector, []

    def _embed_text(self, text: str, prompts: str) -> tuple[Floats, list[str]]:
        """The normalised mean of the text's prompts."""
        words, notes = clean_text(text)
        if not words:
            raise QueryError("the query contains no usable characters; enter text.")
        templates = ("{}",) if prompts in ("", NO_TEMPLATE) else load_templates(prompts)
        tokens = self._encoder.tokens([template.replace("{}", words) for template in templates])
        if tokens.shape[1] >= self._encoder.model.network.towers.context_length:
            notes.append(f"the query is long: the model reads only its first {tokens.shape[1]} tokens.")
        model = self._encoder.model
        vectors = torch.cat([encode_tokens(model.network, part, model.runtime) for part in tokens.split(64)])  # (P, D)
        vector: Floats = torch.nn.functional.normalize(vectors.mean(0), dim=0).numpy()
        return vector, notes


def clean_text(text: str) -> tuple[str, list[str]]:
    """``text`` on one line, in NFC and without control characters; and notes on changes."""
    notes = []
    words = " ".join(text[:MAX_TEXT_LENGTH].encode("utf-8", "replace").decode().replace("\0", " ").split())
    words = unicodedata.normalize("NFC", words)
    if len(text) > MAX_TEXT_LENGTH:
        notes.append(f"the query has {len(text)} characters; only the first {MAX_TEXT_LENGTH} are used.")
    script = _script(words)
    if script:
        notes.append(
            f"the query is in {script} script; results may be poor for a model trained on captions in Latin script."
        )
    return words, notes


def _script(words: str) -> str:
    """The most frequent script of the letters if it is not Latin, such as "Cyrillic"; otherwise ""."""
    letters = [letter for letter in words if letter.isalpha()]
    scripts = [unicodedata.name(letter, "unknown").split()[0] for letter in letters]
    if not scripts:
        return ""
    main_script = max(set(scripts), key=scripts.count)
    return "" if main_script == "LATIN" else {"CJK": "Chinese"}.get(main_script, main_script.capitalize())
