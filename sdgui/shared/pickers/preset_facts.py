"""Facts for choosing a preset: its family and its requirements. No Qt.

Flow: the chooser lists ``FAMILIES`` and shows the ``preset_needs`` of each preset next to its description.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

from core.spec.chain import BORN_AGAIN, GENERATIONS
from core.spec.presets import PRESETS, Preset, Size, preset_config
from core.spec.presets.adapting import ADAPTING
from core.spec.presets.baselines import BASELINES
from core.spec.presets.contrastive import CONTRASTIVE
from core.spec.presets.images import IMAGES
from core.spec.presets.labels import LABELS
from core.spec.presets.method import METHOD
from core.spec.presets.pairs import PAIRS
from core.spec.presets.stages import STAGES

Kind = Literal["captions", "labels", "run", "chain", "images"]


@dataclass(frozen=True)
class Family:
    """A group of related presets."""

    title: str
    presets: tuple[Preset, ...]


@dataclass(frozen=True)
class Need:
    """A requirement of a preset: a short label and a sentence that explains it."""

    kind: Kind
    label: str
    sentence: str


FAMILIES = (
    Family("Baselines, and training on noisy captions", BASELINES),
    Family("The method", METHOD),
    Family("Adapt a pretrained model", ADAPTING),
    Family("Pairs: captions, fusion, matching", PAIRS),
    Family("Contrastive variants", CONTRASTIVE),
    Family("Images only, self-supervised", IMAGES),
    Family("Classes: few labels, previous models", LABELS),
)
ICONS: dict[Kind, str] = {
    "captions": "ph.closed-captioning",
    "labels": "ph.tag",
    "run": "ph.graduation-cap",
    "chain": "ph.stack",
    "images": "ph.image",
}


@functools.lru_cache(maxsize=256)
def preset_needs(name: str, size: Size = "demo") -> tuple[Need, ...]:
    """The requirements of a preset, in addition to image-text pairs, and peculiarities of its training."""
    config = preset_config(name, size)
    needs: list[Need] = []
    objectives = [objective for _, objective in config.objectives if objective.weight]
    if any(objective.needs_decoder() for objective in objectives):
        needs.append(Need("captions", "CoCa", "The preset's architecture is a CoCa, which can caption."))
    if any(objective.learns_classes for objective in objectives):
        few = " A few labelled rows are enough." if any(objective.learns_unlabelled for objective in objectives) else ""
        needs.append(Need("labels", "labels", f"Needs data with a class column, named in data.label.{few}"))
    elif not any(objective.uses_captions() for objective in objectives):
        needs.append(Need("images", "images only", "Captions are not used: the text tower is not trained."))
    if stage_count(name):
        words = f"Trained in stages, one after another: {stages(name)}"
        needs.append(Need("chain", f"{stage_count(name)} stages", words))
    elif config.teacher.traits.trained and not config.teacher.checkpoint:
        needs.append(Need("run", "a trained model", "Needs a trained model as teacher, named in teacher.checkpoint."))
    if (config.towers.freeze != "none" or config.teacher.kind == "initial") and not config.towers.pretrained:
        needs.append(Need("run", "trained towers", "Needs a trained model to start from, named in towers.pretrained."))
    return tuple(needs)


def stage_count(name: str) -> int:
    """The number of runs in the chain of a staged preset; 0 for other presets."""
    return GENERATIONS if name == BORN_AGAIN else len(STAGES.get(name, ()))


def stages(name: str) -> str:
    """The stages of a staged preset in words."""
    if name == BORN_AGAIN:
        return f"{GENERATIONS} generations, each taught by the previous one."
    return " ".join(f"{number}. {stage.description}" for number, stage in enumerate(STAGES[name], start=1))


def matches(name: str, words: list[str]) -> bool:
    """Whether the texts of a preset contain every word."""
    preset = PRESETS[name]
    family = next((family.title for family in FAMILIES if preset in family.presets), "")
    needs = " ".join(need.label for need in preset_needs(name))
    text = f"{preset.name} {preset.title} {preset.description} {preset.paper} {family} {needs}".casefold()
    return all(word in text for word in words)
