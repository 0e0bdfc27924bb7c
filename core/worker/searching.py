"""The Search panel's session in a worker: open, search, evaluate, compare, map, and build an index.

Flow: panel -> worker -> **session** -> core.search.index -> panel. A request names its collection by the ``key`` that
``search_open`` answered; collections that are not in memory are opened again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict

from core.checkpoint.opening import Model, open_model
from core.data.errors import DataError, ImageError
from core.inference.relevance import relevance
from core.search import evaluation, projection
from core.search.cached_indexes import update_folder_index
from core.search.collection import Collection, encode_source, open_index
from core.search.errors import IndexFolderError, QueryError, UnusableIndexError
from core.search.filters import Filter, read_date, read_size
from core.search.index.build import build_index, relocate
from core.search.index.manifest import Manifest, read_manifest
from core.search.queries import NO_TEMPLATE, Query, clean_text, read_terms
from core.search.results import Options, Searcher
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, read_json
from core.spec.reporter import Reporter
from core.spec.run.model_names import RunNetwork, exact_name, locate, parse_interpolated, tuned_of
from core.worker.session import Recent, Session, Verb, modified_at, read_key, write_key

MAX_COLLECTIONS = 6  # collections in memory, such as two networks at a step and its neighbouring steps
MAX_FACET_VALUES = 200  # listed values per label


@dataclass(frozen=True, kw_only=True)
class CollectionRequest:
    """An ``index``, or ``model`` (an exact name) over ``data``; empty ``data``: a run's validation data.

    ``first``: only about this many rows of ``data``; 0: all. ``modified``: when the data was modified.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    index: str
    model: str
    weights: str
    data: str
    first: int = 0
    modified: int = 0


@dataclass
class _OpenCollection:
    """A collection with its searcher, and the ranks of its pairs once computed."""

    searcher: Searcher
    ranked: evaluation.RankedPairs | None = None

    @property
    def collection(self) -> Collection:
        return self.searcher.collection


class SearchSession(Session):
    """Handles requests about collections of images and captions."""

    def __init__(self) -> None:
        self._open: Recent[str, _OpenCollection] = Recent(MAX_COLLECTIONS)

    @property
    def verbs(self) -> Mapping[str, Verb]:
        return {
            "search_open": self.open,
            "search_query": self.query,
            "search_facets": self.facets,
            "search_captions": self.captions,
            "search_evaluate": self.evaluate,
            "search_compare": self.compare,
            "search_map": self.map,
            "search_points": self.points,
            "search_why": self.why,
            "search_index": self.index,
            "search_relocate": self.relocate,
        }

    def open(
        self,
        progress: Reporter,
        index: str = "",
        model: str = "",
        weights: str = "",
        data: str = "",
        cache: str = "",
        first: int = 0,
    ) -> dict[str, Any]:
        """Open an ``index`` folder; or ``model`` over ``data`` (default: a run's validation data), encoded in memory.

        If ``data`` is a folder of images and ``cache`` a folder, the vectors are cached in ``cache``; if that fails, a
        note says why, or an error if ``data`` cannot be encoded in memory. ``model`` is a name for
        ``core.checkpoint.opening``; RUN@last is the newest checkpoint of a run. ``first``: of larger ``data``, only
        about this many rows, so that they can be searched while the others are encoded. The answer: key, title, source
        (of the images), model, weights, dim, images, captions, search_method, notes, remaining (rows left out).
        """
        cache_problem = ""
        if index:
            request = CollectionRequest(index=index, model=model, weights=weights, data=data)
        elif model:
            request, cache_problem = _model_request(model, weights, data, cache, int(first), progress)
            if parse_interpolated(request.model):
                self._drop_interpolated(request.model)
        else:
            raise UserError("choose an index, or a model, to search with.")
        key = write_key(request)
        if request.index:  # which may have grown
            self._open.drop(lambda open_key: open_key == key)
        try:
            loaded = self._get(key, progress)  # may use the model of the collection that is closed next
        except UnusableIndexError:
            if request.index == index:
                raise
            shutil.rmtree(request.index)  # a cached index of other weights with the same name
            return self.open(progress, index, model, weights, data, cache, first)
        except DataError as error:
            if cache_problem:
                raise IndexFolderError(cache_problem) from error
            raise
        self._open.drop(lambda other: other != key and replace(_request(other), modified=request.modified) == request)
        collection, identity = loaded.collection, loaded.collection.encoder.identity
        return {
            "key": key,
            "title": Path(data).name if request.index != index else collection.title,
            "source": _manifest(request.index).source if request.index else collection.title,
            "model": identity.model,
            "weights": identity.weights,
            "dim": identity.dim,
            "images": int(collection.alive.sum()),
            "captions": int(collection.text_alive.sum()),
            "search_method": collection.search_method,
            "notes": [*([f"Searched in memory: {cache_problem}"] if cache_problem else ()), *collection.notes],
            "remaining": collection.remaining,
        }

    def _drop_interpolated(self, model: str) -> None:
        """Close interpolated collections of other models except one, since their features are cached on disk."""
        requests = [(key, _request(key)) for key in self._open]
        others = [(key, other) for key, other in requests if parse_interpolated(other.model) and other.model != model]
        stale = [key for key, other in others if other.first] + [key for key, other in others if not other.first][:-1]
        self._open.drop(lambda key: key in stale)

    def _get(self, key: str, progress: Reporter) -> _OpenCollection:
        """The collection with ``key``, which is opened if it is not in memory."""
        request = _request(key)
        model = None if key in self._open else self._loaded_model(request)
        return self._open.get(key, lambda: _OpenCollection(Searcher(_open_collection(request, model, progress))))

    def _loaded_model(self, request: CollectionRequest) -> Model | None:
        """The model of ``request`` from another open collection, such as the first part of the same data."""
        for key, loaded in self._open.items():
            other = _request(key)
            if not other.index and (other.model, other.weights) == (request.model, request.weights):
                return loaded.collection.encoder.model
        return None

    def query(
        self,
        progress: Reporter,
        key: str = "",
        texts: Any = None,
        images: Any = None,
        rows: Any = None,
        minus: Any = None,
        caption: int | None = None,
        k: int = 50,
        prompts: str = NO_TEMPLATE,
        find: str = "images",
        group: bool = True,
        filters: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The results nearest to ``texts``, ``images`` (paths) and ``rows`` of the collection, and far from ``minus``.

        Each is a list of plain values or of objects with ``weight`` (``{"text": "at night", "weight": 0.5}``); objects
        in ``minus`` have text, image or row. ``caption``: the number of a caption of the collection instead; then
        ``true_rank`` is the rank of its image. ``find``: "images" or "captions". ``filters``: folders, labels (name ->
        values), min_size, max_size, after, before.

        The answer: rows of row, path, exists, caption, captions, labels, size, time, cosine, softmax, rank,
        above_cutoff, duplicates (for captions: text, caption, row, path); cutoff, above, searched, true_rank, true_row,
        notes.
        """
        loaded = self._get(key, progress)
        collection = loaded.collection
        options = Options(int(k), find, _filter(filters or {}), group)
        if caption is not None:
            return self._known_caption(loaded, int(caption), options, progress)
        terms = [
            *read_terms(texts),
            *read_terms(images, bare_field="image"),
            *read_terms(rows, bare_field="row"),
            *read_terms(minus, sign=-1.0),
        ]
        answer = loaded.searcher.search(Query(tuple(terms), prompts), options)
        answer["notes"] = [*collection.notes, *answer["notes"]]
        return {**answer, "true_rank": None, "true_row": None}

    def _known_caption(
        self, loaded: _OpenCollection, caption: int, options: Options, progress: Reporter
    ) -> dict[str, Any]:
        collection = loaded.collection
        if collection.texts is None or not 0 <= caption < len(collection.text_alive):
            raise QueryError(f"there is no caption {caption}; use a number from 0 to {len(collection.text_alive) - 1}.")
        vector = collection.texts.vectors(np.array([caption]))[0]
        answer = loaded.searcher.search_vector(vector, "text", options)
        rank = evaluation.true_rank(self._rank_once(loaded, progress), caption)
        true_row = int(collection.owner[caption])
        return {**answer, "notes": list(collection.notes), "true_rank": rank, "true_row": true_row}

    def facets(self, progress: Reporter, key: str = "") -> dict[str, Any]:
        """The first values for filters: ``folders``, and ``labels`` (name -> values)."""
        facets_of = self._get(key, progress).collection.columns
        labels = {name: sorted(values)[:MAX_FACET_VALUES] for name, (values, _) in facets_of.labels.items()}
        return {"folders": sorted(facets_of.folders)[:MAX_FACET_VALUES], "labels": labels}

    def captions(self, progress: Reporter, key: str = "", contains: str = "", k: int = 200) -> dict[str, Any]:
        """The first ``k`` captions that contain the words ``contains``: text (number), caption, row, path, rank."""
        loaded = self._get(key, progress)
        ranked_pairs = self._rank_once(loaded, progress)
        rows = evaluation.listed_captions(loaded.collection, ranked_pairs, contains, int(k))
        return {"captions": rows, "total": len(ranked_pairs.texts)}

    def evaluate(self, progress: Reporter, key: str = "", listed: int = evaluation.MAX_LISTED) -> dict[str, Any]:
        """Ranks of all queries in both directions, hardest first, recall and its curve; see
        `core.search.evaluation.evaluate`."""
        loaded = self._get(key, progress)
        return evaluation.evaluate(loaded.collection, self._rank_once(loaded, progress), int(listed))

    def compare(self, progress: Reporter, a: str = "", b: str = "", k: int = 1) -> dict[str, Any]:
        """The pairs that only one of two models retrieves within the top ``k``. ``a`` and ``b`` are keys."""
        first, second = self._get(a, progress), self._get(b, progress)
        ranked_pairs = self._rank_once(first, progress), self._rank_once(second, progress)
        return evaluation.compare(first.collection, ranked_pairs[0], second.collection, ranked_pairs[1], int(k))

    def map(
        self,
        progress: Reporter,
        key: str = "",
        shown: int = projection.MAX_SHOWN,
        captions: bool = True,
        packed: bool = False,
    ) -> dict[str, Any]:
        """Images and captions in two dimensions: PCA as a partial answer, then t-SNE.

        ``packed``: write only coordinates of very many points; details are requested with ``points``.
        """
        collection = self._get(key, progress).collection
        points = projection.choose_points(collection, int(shown), captions)
        progress.partial(projection.as_json(collection, points, projection.principal_axes(points), "PCA", packed))
        layout, method = projection.lay_out(points, progress)
        return projection.as_json(collection, points, layout, method, packed)

    def points(
        self, progress: Reporter, key: str = "", rows: Sequence[int] = (), texts: Sequence[int] = ()
    ) -> dict[str, Any]:
        """Paths and captions of points of a map: images by row, captions by number."""
        return projection.describe_points(self._get(key, progress).collection, list(rows), list(texts))

    def why(self, progress: Reporter, key: str = "", path: str = "", text: str = "") -> dict[str, Any]:
        """Contributions to the similarity of the image ``path`` and ``text`` in the model of ``key``.

        The answer: cosine; patches, rows of each patch's share in the centre crop; words (text, relevance), each word's
        share. Shares sum to 1, or are all 0.
        """
        encoder = self._get(key, progress).collection.encoder
        words, _ = clean_text(text)
        if not words:
            raise QueryError("there is no text to compare the image with; enter text.")
        try:
            image = encoder.image(path)
        except ImageError as error:
            raise QueryError(f"the image {path} cannot be compared: {error}.") from error
        explanation = relevance(encoder.model.network, image, words)
        return {
            "cosine": explanation.cosine,
            "patches": explanation.patches.tolist(),
            "words": [asdict(word) for word in explanation.words],
        }

    def index(
        self,
        progress: Reporter,
        model: str = "",
        source: str = "",
        folder: str = "",
        weights: str = "",
        drop_missing: bool = False,
    ) -> dict[str, Any]:
        """Create or update the index ``folder`` of ``source``. Messages are in the answer's ``log``.

        ``model`` and ``source`` default to the model and source of the existing index in ``folder``.
        """
        if not folder:
            raise UserError("choose the folder for the index.")
        if not model or not source:
            manifest = _manifest(folder)
            source = source or manifest.source
            if not model:
                model, weights = manifest.identity.model, manifest.identity.weights
        log: list[str] = []
        report = build_index(model, source, folder, progress, log.append, weights=weights, drop_missing=drop_missing)
        return {**asdict(report), "bad": [str(row) for row in report.bad], "log": log}

    def relocate(self, progress: Reporter, folder: str, old: str, new: str) -> dict[str, Any]:
        """Change the paths of an index's images from ``old`` to ``new``."""
        return {"relocated": relocate(folder, old, new, progress)}

    def _rank_once(self, loaded: _OpenCollection, progress: Reporter) -> evaluation.RankedPairs:
        if loaded.ranked is None:
            loaded.ranked = evaluation.rank_all(loaded.collection, progress)
        return loaded.ranked


def _request(key: str) -> CollectionRequest:
    request: CollectionRequest = read_key(CollectionRequest, key, "no collection is open; choose an index or a run.")
    return request


def _model_request(
    model: str, weights: str, data: str, cache: str, first: int, progress: Reporter
) -> tuple[CollectionRequest, str]:
    """A request for a cached index of the images in ``data``, or for ``model`` over ``data``; and why the index cannot
    be written, or "".
    """
    name, exact_weights = exact_name(model, weights)
    problem = ""
    if cache and data and expand_user(data).is_dir():
        # Indexes of many alphas must not replace indexes of other models.
        home = expand_user(cache) / ("interpolated" if parse_interpolated(name) else "")
        try:
            if cached := update_folder_index(home, name, exact_weights, data, progress):
                return CollectionRequest(index=str(cached), model=name, weights=exact_weights, data=""), ""
        except IndexFolderError as error:  # another process is writing it, or the disk is full
            problem = str(error)
    modified = modified_at(expand_user(data or _held_out(name)))
    request = CollectionRequest(
        index="", model=name, weights=exact_weights, data=data, first=first if data else 0, modified=modified
    )
    return request, problem


def _manifest(folder: str) -> Manifest:
    manifest = read_manifest(expand_user(folder))
    if manifest is None:
        raise IndexFolderError(f"{folder} contains no index; choose a model and images to create an index.")
    return manifest


def _open_collection(request: CollectionRequest, model: Model | None, progress: Reporter) -> Collection:
    """Open the collection of ``request``. ``model``: its model if it is already loaded."""
    if request.index:
        return open_index(request.index, progress, request.model, request.weights)
    if model is None:
        progress("loading the model", 0, 0)
        model = open_model(request.model, request.weights)
    source = request.data or _held_out(request.model)
    return encode_source(model, request.model, source, progress, limit=request.first)


def _held_out(model: str) -> str:
    """The validation data of the run of ``model``."""
    network = tuned_of(locate(model))
    try:
        source = read_json(network.run.config, MEGABYTE)["data"]["val"] if isinstance(network, RunNetwork) else ""
    except (OSError, UserError, KeyError, TypeError):
        source = ""
    if not source:
        raise UserError("The model has no validation data (data.val is empty); choose images to search.")
    return str(source)


def _filter(fields: dict[str, Any]) -> Filter:
    unknown = set(fields) - {"folders", "labels", "min_size", "max_size", "after", "before"}
    if unknown:
        raise QueryError(f"there is no filter {sorted(unknown)[0]!r}.")
    allowed = (fields.get("labels") or {}).items()
    times = {name: read_date(value) for name in ("after", "before") if (value := fields.get(name)) not in (None, "")}
    return Filter(
        folders=tuple(fields.get("folders") or ()),
        labels={name: (values,) if isinstance(values, str) else tuple(values) for name, values in allowed},
        min_size=read_size(fields.get("min_size") or 0),
        max_size=read_size(fields.get("max_size") or 0),
        **times,
    )
