"""The Classify panel's session in a worker: the verbs ``classify_...``.

Flow: panel -> worker -> **session** -> ``opened_data``, evaluators, ``results``, ``trying``, ``applying`` -> plain data
-> panel. Opened data, results and probes are named by keys (``keys``); what is not in memory is computed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from core.checkpoint.opening import model_key, open_model
from core.inference.encoder import PROJECTED, UNPROJECTED
from core.inference.images import find_images
from core.metrics.classification.few_shot import DEFAULT_DRAWS, DEFAULT_SHOTS
from core.metrics.classification.knn import NEIGHBOURS
from core.metrics.classification.probe import Probe, load_probe, save_probe
from core.metrics.classification.prompts import DEFAULT_TEMPLATES, load_templates
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.reporter import Reporter
from core.spec.run.model_names import exact_name
from core.worker.classify.applying import apply_probe, summary, write_csv
from core.worker.classify.keys import DataRequest, Measurement, ProbeFile
from core.worker.classify.measuring import few_shot_curve, measure, probe_features
from core.worker.classify.opened_data import MAX_LISTED, LoadedModel, OpenedData, modification_times, open_data
from core.worker.classify.results import Result, difference
from core.worker.classify.trying import clean_names, top_by_names, top_classes
from core.worker.session import Recent, Session, Verb, read_key, write_key

MAX_MODELS, MAX_OPENED, MAX_RESULTS = 3, 6, 48  # maximum numbers in memory


class ClassifySession(Session):
    """Handles classification requests."""

    def __init__(self) -> None:
        self._models: Recent[tuple[str, ...], LoadedModel] = Recent(MAX_MODELS)
        self._data: Recent[tuple[object, ...], OpenedData] = Recent(MAX_OPENED)
        self._results: Recent[str, Result] = Recent(MAX_RESULTS)
        self._probes: Recent[str, Probe] = Recent(MAX_RESULTS)  # probes that were loaded from files

    @property
    def verbs(self) -> Mapping[str, Verb]:
        return {
            "classify_model": self.model,
            "classify_open": self.open,
            "classify_zero_shot": self.zero_shot,
            "classify_probe": self.probe,
            "classify_knn": self.nearest,
            "classify_few_shot": self.few_shot,
            "classify_mistakes": self.mistakes,
            "classify_cell": self.cell,
            "classify_compare": self.compare,
            "classify_try": self.try_images,
            "classify_save_probe": self.save_probe,
            "classify_load_probe": self.load_probe,
            "classify_apply": self.apply,
        }

    def model(self, progress: Reporter, model: str, weights: str = "") -> dict[str, Any]:
        """Load a model without data, to try images. The answer is `LoadedModel.describe`."""
        return self._load(model, weights, progress).describe()

    def open(
        self,
        progress: Reporter,
        model: str,
        data: str,
        weights: str = "",
        label: str = "",
        train: str = "",
        train_label: str = "",
        val: str = "",
        layer: str = UNPROJECTED,
        packed: bool = False,
    ) -> dict[str, Any]:
        """Extract the features of ``data`` and of the training data of a probe (see `open_data`).

        The answer has ``opened`` (the key for other verbs), ``model``, ``classes``, ``data``, ``train``,
        ``val`` and ``notes``. Extracted features are cached on disk, even when the request is cancelled. ``packed``:
        the confusion matrices of results on these data are packed (`Result.as_json`).
        """
        exact, exact_weights = exact_name(model, weights)
        request = DataRequest(
            model=exact, weights=exact_weights or weights, data=data, label=label,
            train=train, train_label=train_label, val=val, layer=layer, packed=packed,
        )  # fmt: skip
        return self._open(request, progress).answer()

    def zero_shot(self, progress: Reporter, opened: str, templates: str = DEFAULT_TEMPLATES) -> dict[str, Any]:
        """Classify by prompts of the class names. The answer is `Result.as_json`."""
        return self._measure(Measurement(opened=_data(opened), method="zero-shot", templates=templates), progress)

    def probe(
        self,
        progress: Reporter,
        opened: str,
        kind: str = "image",
        text: str = "predicted",
        templates: str = DEFAULT_TEMPLATES,
        standardise: bool = False,
    ) -> dict[str, Any]:
        """Fit a linear probe on images, or (``kind`` "fused") on images fused with ``text``.

        The answer is `Result.as_json`, with ``curve`` (C and its validation accuracy) and ``C``.
        """
        measurement = Measurement(
            opened=_data(opened), method="probe", kind=kind, text=text, templates=templates, standardise=standardise
        )
        return self._measure(measurement, progress)

    def nearest(self, progress: Reporter, opened: str, k: int = NEIGHBOURS) -> dict[str, Any]:
        """Classify by the ``k`` nearest neighbours among the training images. The answer is `Result.as_json`."""
        return self._measure(Measurement(opened=_data(opened), method="knn", k=k), progress)

    def few_shot(
        self,
        progress: Reporter,
        opened: str,
        kind: str = "image",
        text: str = "predicted",
        templates: str = DEFAULT_TEMPLATES,
        shots: Sequence[int] = DEFAULT_SHOTS,
        draws: int = DEFAULT_DRAWS,
    ) -> dict[str, Any]:
        """Fit probes on a few images per class. Each point of ``curve`` is also sent as a partial answer.

        A point is ``shots, accuracy, low, high`` (None for one draw), ``draws`` (accuracies) and ``C``.
        """
        data = self._open(_data(opened), progress)
        return few_shot_curve(data, kind, text, templates, shots, draws, progress)

    def mistakes(self, progress: Reporter, result: str, offset: int = 0, limit: int = 60) -> dict[str, Any]:
        """The most confident mistakes: ``total`` and ``images`` (image, true, predicted, probability, tied)."""
        return self._result(result, progress).mistakes(max(0, offset), limit)

    def cell(
        self, progress: Reporter, result: str, true: int, predicted: int, offset: int = 0, limit: int = 200
    ) -> dict[str, Any]:
        """The images in a confusion cell: ``true, predicted, total, images`` (image, probability, tied)."""
        return self._result(result, progress).cell(true, predicted, max(0, offset), limit)

    def compare(self, progress: Reporter, a: str, b: str, shown: int = 60) -> dict[str, Any]:
        """The difference of the results ``a`` and ``b``; see `core.worker.classify.results.difference`."""
        return difference(self._result(a, progress), self._result(b, progress), shown)

    def try_images(
        self,
        progress: Reporter,
        images: Sequence[str],
        model: str,
        weights: str = "",
        probe: str = "",
        classes: Sequence[str] = (),
        templates: str = DEFAULT_TEMPLATES,
        top: int = 5,
    ) -> dict[str, Any]:
        """The most likely classes of each image: by ``probe`` (key of a result or a loaded probe, or "") and among the
        typed ``classes`` (zero-shot).

        Each of ``images`` has ``image, probe, zero_shot`` (lists of class and probability, None if not requested) and
        ``error`` (why it cannot be read, or "").
        """
        loaded = self._load(model, weights, progress)
        tried = loaded.tried
        files = find_images(images, progress).inputs
        names = clean_names(classes)
        by_names, by_probe = {}, {}
        errors: dict[str, str] = {}
        if names:
            embedded = loaded.embedder(load_templates(templates)).embed(names, keep=False)
            scale = loaded.model.network.logit_scale.item()
            values, errors = tried.features(files, PROJECTED, None, progress)
            by_names = {path: top_by_names(features, names, embedded, scale, top) for path, features in values.items()}
        if probe:
            fitted = self._probe(probe, progress)
            layer, fused_encoder = probe_features(fitted, loaded)
            values, errors = tried.features(files, layer, fused_encoder, progress)
            by_probe = {
                path: top_classes(fitted.probabilities(features[None])[0], fitted.classes, top)
                for path, features in values.items()
            }
        return {
            "images": [
                {
                    "image": item.path,
                    "probe": by_probe.get(item.path),
                    "zero_shot": by_names.get(item.path),
                    "error": errors.get(item.path, ""),
                }
                for item in files
            ]
        }

    def save_probe(self, progress: Reporter, result: str, path: str, replace: bool = False) -> dict[str, Any]:
        """Write a result's probe as safetensors with a JSON description. The answer has both paths.

        Raises UserError if a file exists; with ``replace``, only if the JSON file does not describe a probe.
        """
        file = save_probe(self._probe(result, progress), expand_user(path), replace)
        return {"path": str(file), "json": str(file.with_suffix(".json"))}

    def load_probe(self, progress: Reporter, path: str, opened: str = "") -> dict[str, Any]:
        """Load a saved probe: ``probe`` (its key), ``classes, C, layer, text, model_digest, path``.

        With ``opened`` data, the probe is also evaluated, and ``result`` is `Result.as_json` instead of None.
        """
        key = write_key(ProbeFile(path=path))
        probe = self._probes.put(key, load_probe(expand_user(path)))
        result = None
        if opened:
            result = self._measure(Measurement(opened=_data(opened), method="saved probe", path=path), progress)
        return {
            "probe": key,
            "classes": list(probe.classes),
            "C": probe.C,
            "layer": probe.layer,
            "text": probe.text,
            "model_digest": probe.model_digest,
            "path": path,
            "result": result,
        }

    def apply(
        self,
        progress: Reporter,
        probe: str,
        images: Sequence[str],
        out: str,
        model: str,
        weights: str = "",
        replace: bool = False,
    ) -> dict[str, Any]:
        """Classify every image in files and folders and write the CSV ``out`` (`write_csv`).

        The answer has ``path, images, classes`` (the number of images of each), ``unreadable`` and
        ``unreadable_count``. Raises UserError, before computing anything, when ``out`` exists, unless ``replace``.
        """
        file = expand_user(out)
        if file.exists() and not replace:
            raise UserError(f"{file} already exists; choose another name.")
        loaded = self._load(model, weights, progress)
        fitted = self._probe(probe, progress)
        layer, fused_encoder = probe_features(fitted, loaded)
        applied = apply_probe(fitted, loaded.model, layer, fused_encoder, images, progress)
        write_csv(applied, fitted, file)
        return summary(applied, fitted, file, MAX_LISTED)

    def _open(self, request: DataRequest, progress: Reporter) -> OpenedData:
        """The opened data, from memory or from the feature cache; read again if the files have changed."""
        loaded = self._load(request.model, request.weights, progress)
        sources = (request.data, request.train or loaded.model.data.train, request.val)
        key = write_key(request), *map(modification_times, sources)
        return self._data.get(key, lambda: open_data(loaded, request, progress))

    def _load(self, name: str, weights: str, progress: Reporter) -> LoadedModel:
        def load() -> LoadedModel:
            progress("loading the model", 0, 0)
            return LoadedModel(open_model(name, weights))

        return self._models.get(model_key(name, weights), load)

    def _measure(self, measurement: Measurement, progress: Reporter) -> dict[str, Any]:
        """Evaluate, even if a result exists. The answer is `Result.as_json`."""
        result = self._results.put(write_key(measurement), self._compute_result(measurement, progress))
        return result.as_json(measurement.opened.packed)

    def _compute_result(self, measurement: Measurement, progress: Reporter) -> Result:
        data = self._open(measurement.opened, progress)
        saved = self._load_saved(measurement.path) if measurement.method == "saved probe" else None
        return replace(measure(data, measurement, saved, progress), key=write_key(measurement))

    def _result(self, key: str, progress: Reporter) -> Result:
        measurement: Measurement = read_key(Measurement, key, "there is no such result; evaluate first.")
        return self._results.get(write_key(measurement), lambda: self._compute_result(measurement, progress))

    def _load_saved(self, path: str) -> Probe:
        return self._probes.get(write_key(ProbeFile(path=path)), lambda: load_probe(expand_user(path)))

    def _probe(self, key: str, progress: Reporter) -> Probe:
        """The probe with this key, from a result or a file."""
        source: Measurement | ProbeFile = read_key(
            Measurement | ProbeFile, key, "there is no such probe; fit or load one first."
        )
        if isinstance(source, ProbeFile):
            return self._load_saved(source.path)
        result = self._result(key, progress)
        if result.probe is None:
            raise UserError(f"{result.title} has no probe to save or to apply; fit a linear probe first.")
        return result.probe


def _data(key: str) -> DataRequest:
    request: DataRequest = read_key(DataRequest, key, "these data are not open; open them first.")
    return request
