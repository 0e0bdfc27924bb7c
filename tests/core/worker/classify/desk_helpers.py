"""A Classify desk asked as the worker asks it, and what is computed by hand to hold against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from core.checkpoint.opening import Model
from core.data.dataset import open_dataset
from core.data.views.making import centre_view
from core.inference.encoder import encode_layers
from core.worker.classify.session import ClassifySession
from tests.core.labelled import read, write

Answer = dict[str, Any]


class Cancelled(Exception):
    pass


class Desk:
    """A desk that is asked by a verb's name; every answer must be what JSON can hold."""

    def __init__(self) -> None:
        self.verbs = ClassifySession().verbs
        self.heard: list[tuple[str, int, int]] = []
        self.partials: list[Answer] = []
        self.stop_at = ""

    def __call__(self, doing: str, done: int, total: int, /) -> None:
        self.heard.append((doing, done, total))
        if self.stop_at and doing.startswith(self.stop_at):
            raise Cancelled

    def partial(self, result: Answer) -> None:
        self.partials.append(json.loads(json.dumps(result, allow_nan=False)))

    def ask(self, verb: str, **arguments: Any) -> Answer:
        answer: Answer = json.loads(
            json.dumps(self.verbs[f"classify_{verb}"](progress=self, **arguments), allow_nan=False)
        )
        return answer


def by_hand(model: Model, source: str, layer: str) -> tuple[torch.Tensor, list[str], list[str]]:
    """Features, colours and paths of a manifest's images, one at a time."""
    network = model.network
    data = open_dataset(source, model.data, network.image_size, network.towers.tokenize)
    views = [centre_view(data.image(row), network.image_size)[None] for row in range(len(data))]
    features = torch.cat([encode_layers(network, one, model.runtime, [layer])[layer] for one in views])
    colours = [data.labels(row)["colour"] for row in range(len(data))]
    return features, colours, [str(data.path(row)) for row in range(len(data))]


def manifest(val: str, name: str, labels: list[str]) -> str:
    """The validation images with other labels."""
    rows = [[*row[:2], labels[number % len(labels)]] for number, row in enumerate(read(val))]
    return str(write(Path(val).with_name(name), [["filepath", "title", "kind"], *rows]))
