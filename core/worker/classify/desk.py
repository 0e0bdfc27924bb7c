"""What the worker can do about classification: the verbs ``classify_...`` of the Classify panel.

Flow: panel -> worker -> **desk** -> ``opened``, evaluators, ``results``, ``trying``, ``applying`` -> plain data ->
panel. Models, open data and results used last are remembered; a number that is no longer known is refused in words.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from core.checkpoint.opening import model_key, open_model
from core.inference.encoder import PROJECTED
from core.metrics.classification.few_shot import DRAWS, SHOTS
from core.metrics.classification.knn import NEIGHBOURS
from core.metrics.classification.probe import Probe, load_probe, save_probe
from core.metrics.classification.prompts import DEFAULT_TEMPLATES, load_templates
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.reporter import Reporter
from core.worker.classify.applying import apply_probe, summary, write_csv
from core.worker.classify.measuring import by_neighbours, by_probe, by_prompts, by_saved, features_of, few_shot_curve
from core.worker.classify.opened import SHOWN, Desked, Opened, Wanted, open_data
from core.worker.classify.results import Result, difference
from core.worker.classify.trying import best_by_names, best_by_probe, typed

MODELS, OPENED, RESULTS = 3, 6, 48  # remembered

T = TypeVar("T")


class Classify:
    """Answers requests about classification; remembers what it opened and measured last."""

    def __init__(self) -> None:
        self._models: OrderedDict[tuple[str, ...], Desked] = OrderedDict()
        self._opened: OrderedDict[str, Opened] = OrderedDict()
        self._wanted: dict[str, tuple[str, str, Wanted]] = {}  # what each number stands for
        self._packed: set[str] = set()  # numbers of data whose results are told packed
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._probes: OrderedDict[str, tuple[Probe, str]] = OrderedDict()  # loaded ones, with their files
        self._count = 0

    @property
    def verbs(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """What the worker calls, by name."""
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
            "classify_try": self.try_pictures,
            "classify_save_probe": self.save_probe,
            "classify_load_probe": self.load_probe,
            "classify_apply": self.apply,
        }

    def model(self, progress: Reporter, model: str, weights: str = "") -> dict[str, Any]:
        """Load a model without data, to try pictures with; the answer is what `Desked.about` gives."""
        return self._desked(model, weights, progress).about()

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
        layer: str = "before the projection",
        packed: bool = False,
    ) -> dict[str, Any]:
        """Extract the features of ``data`` and of what a probe is trained on (see `open_data`).

        The answer has ``opened`` (a number for the other verbs), ``model``, ``classes``, ``data``, ``train``, ``val``
        and ``notes``. What was extracted is kept on disk, also when the work is cancelled. With ``packed`` the
        confusion matrices of what is measured on them are packed (`Result.plain`).
        """
        wanted = Wanted(data=data, label=label, train=train, train_label=train_label, val=val, layer=layer)
        number = self._next("opened")
        answer = self._open(number, model, weights, wanted, progress).answer()
        self._wanted[number] = model, weights, wanted
        if packed:
            self._packed.add(number)
        return answer

    def zero_shot(self, progress: Reporter, opened: str, templates: str = DEFAULT_TEMPLATES) -> dict[str, Any]:
        """Classify by the prompts of the class names; the answer is `Result.plain`."""
        return self._keep(by_prompts(self._here(opened, progress), templates, progress))

    def probe(
        self,
        progress: Reporter,
        opened: str,
        kind: str = "image",
        text: str = "predicted",
        templates: str = DEFAULT_TEMPLATES,
        standardise: bool = False,
    ) -> dict[str, Any]:
        """Fit a linear probe on the image alone, or (``kind`` "fused") on the image joined with ``text``.

        The answer is `Result.plain`, with ``curve`` (C and its validation accuracy) and ``C``.
        """
        here = self._here(opened, progress)
        return self._keep(by_probe(here, kind, text, templates, standardise, progress))

    def nearest(self, progress: Reporter, opened: str, k: int = NEIGHBOURS) -> dict[str, Any]:
        """Classify by the ``k`` nearest training pictures; the answer is `Result.plain`."""
        return self._keep(by_neighbours(self._here(opened, progress), k, progress))

    def few_shot(
        self,
        progress: Reporter,
        opened: str,
        kind: str = "image",
        text: str = "predicted",
        templates: str = DEFAULT_TEMPLATES,
        shots: Sequence[int] = SHOTS,
        draws: int = DRAWS,
    ) -> dict[str, Any]:
        """Probes on a few pictures a class; each point of ``curve`` is also a partial answer as soon as it is there.

        A point is ``shots, accuracy, low, high`` (None for one draw), ``draws`` (accuracies) and ``C``.
        """
        here = self._here(opened, progress)
        return few_shot_curve(here, kind, text, templates, shots, draws, progress)

    def mistakes(self, progress: Reporter, result: str, offset: int = 0, limit: int = 60) -> dict[str, Any]:
        """More of the most confident mistakes: ``total`` and ``pictures`` (image, true, predicted, probability)."""
        return self._find(self._results, result, "result").mistakes(max(0, offset), limit)

    def cell(
        self, progress: Reporter, result: str, true: int, predicted: int, offset: int = 0, limit: int = 200
    ) -> dict[str, Any]:
        """Pictures in one cell of the confusion matrix: ``true, predicted, total, pictures`` (image, probability)."""
        return self._find(self._results, result, "result").cell(true, predicted, max(0, offset), limit)

    def compare(self, progress: Reporter, a: str, b: str, shown: int = 60) -> dict[str, Any]:
        """Result ``a`` minus result ``b`` by the paired bootstrap; see `core.worker.classify.results.difference`."""
        return difference(self._find(self._results, a, "result"), self._find(self._results, b, "result"), shown)

    def try_pictures(
        self,
        progress: Reporter,
        pictures: Sequence[str],
        model: str,
        weights: str = "",
        probe: str = "",
        classes: Sequence[str] = (),
        templates: str = DEFAULT_TEMPLATES,
        top: int = 5,
    ) -> dict[str, Any]:
        """The likeliest classes of each picture: by ``probe`` (a result's or a loaded probe's number, or none) and
        among the typed ``classes`` (zero-shot).

        Each of ``pictures`` has ``image, probe, zero_shot`` (lists of class and probability, None where not asked for)
        and ``error`` (why it cannot be read, else empty).
        """
        desked = self._desked(model, weights, progress)
        tried = desked.tried
        found = tried.gather(pictures, progress)
        names = typed(classes)
        by_names, by_probe = {}, {}
        refused: dict[str, str] = {}
        if names:
            embedded = desked.embedder(load_templates(templates)).embed(names, keep=False)
            scale = desked.model.network.logit_scale.item()
            values, refused = tried.features(found, PROJECTED, None, progress)
            by_names = {path: best_by_names(one, names, embedded, scale, top) for path, one in values.items()}
        if probe:
            chosen = self._probe(probe)
            layer, how = features_of(chosen, desked)
            values, refused = tried.features(found, layer, how, progress)
            by_probe = {path: best_by_probe(chosen, one, top) for path, one in values.items()}
        return {
            "pictures": [
                {
                    "image": item.path,
                    "probe": by_probe.get(item.path),
                    "zero_shot": by_names.get(item.path),
                    "error": refused.get(item.path, ""),
                }
                for item in found
            ]
        }

    def save_probe(self, progress: Reporter, result: str, path: str, replace: bool = False) -> dict[str, Any]:
        """Write a result's probe as safetensors, and what it is as JSON beside it; gives both paths.

        UserError when there is such a file and not ``replace``.
        """
        file = save_probe(self._probe(result), expand_user(path), replace)
        return {"path": str(file), "json": str(file.with_suffix(".json"))}

    def load_probe(self, progress: Reporter, path: str, opened: str = "") -> dict[str, Any]:
        """A probe that was saved: ``probe`` (its number), ``classes, C, layer, text, model_digest, path``.

        With ``opened`` data it is measured on them too: ``result`` is then `Result.plain`, else None.
        """
        probe = load_probe(expand_user(path))
        number = self._next("probe")
        result = None
        if opened:
            result = self._keep(by_saved(probe, self._here(opened, progress), Path(path).stem, progress))
        _remember(self._probes, number, (probe, path), RESULTS)
        return {
            "probe": number,
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
        pictures: Sequence[str],
        out: str,
        model: str,
        weights: str = "",
        replace: bool = False,
    ) -> dict[str, Any]:
        """Classify every picture in files and folders and write the CSV ``out`` (`write_csv`).

        The answer has ``path, pictures, classes`` (how many of each), ``unreadable`` and ``unreadable_count``.
        UserError, before anything is computed, when ``out`` is there and not ``replace``.
        """
        file = expand_user(out)
        if file.exists() and not replace:
            raise UserError(f"{file} is there already and is not overwritten; choose another name.")
        desked = self._desked(model, weights, progress)
        chosen = self._probe(probe)
        layer, how = features_of(chosen, desked)
        applied = apply_probe(chosen, desked.model, layer, how, pictures, progress)
        write_csv(applied, chosen, file)
        return summary(applied, chosen, file, SHOWN)

    def _open(self, number: str, model: str, weights: str, wanted: Wanted, progress: Reporter) -> Opened:
        opened = open_data(number, self._desked(model, weights, progress), wanted, progress)
        _remember(self._opened, number, opened, OPENED)
        return opened

    def _here(self, number: str, progress: Reporter) -> Opened:
        """Opened data by number; those that had to go are read back from the cache."""
        if number not in self._opened and number in self._wanted:
            return self._open(number, *self._wanted[number], progress)
        return self._find(self._opened, number, "data")

    def _desked(self, name: str, weights: str, progress: Reporter) -> Desked:
        key = model_key(name, weights)
        if key not in self._models:
            progress("loading the model", 0, 0)
            _remember(self._models, key, Desked(open_model(name, weights)), MODELS)
        self._models.move_to_end(key)
        return self._models[key]

    def _probe(self, number: str) -> Probe:
        """Of a result or of a loaded file, by number."""
        if number in self._probes:
            return self._probes[number][0]
        result = self._find(self._results, number, "probe")
        if result.probe is None:
            raise UserError(f"{result.title} has no probe to save or to apply; fit a linear probe first.")
        return result.probe

    def _keep(self, result: Result) -> dict[str, Any]:
        kept = replace(result, number=self._next("result"))
        _remember(self._results, kept.number, kept, RESULTS)
        return kept.plain(packed=kept.opened in self._packed)

    def _next(self, what: str) -> str:
        self._count += 1
        return f"{what} {self._count}"

    def _find(self, known: OrderedDict[str, T], number: str, what: str) -> T:
        if number not in known:
            again = "open the data again" if what == "data" else "measure again"
            raise UserError(f"the {what} {number!r} is no longer in memory; {again}.")
        known.move_to_end(number)
        return known[number]


def _remember(known: OrderedDict[Any, T], key: Any, value: T, most: int) -> None:
    known[key] = value
    known.move_to_end(key)
    while len(known) > most:
        known.popitem(last=False)
