"""The base of all objective settings: a weight, and declarations of what the objective needs.

Flow: ``core.spec.config.contradictions`` collects the needs and problems of all objectives with a weight; the trainer,
its validation and ``core.spec.presets.recommended`` read the same declarations. None of them refers to an objective by
name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple, TypeVar

from core.spec.config.base import Section, Share, shared_setting
from core.spec.config.training import DataConfig
from core.spec.config.views import ViewsConfig

# Settings shared by several objectives: range, title and unit. Each objective sets its own default and description.
Weight = Annotated[float, shared_setting("Weight", "Factor of this loss; 0 disables it.", ge=0.0, le=1000.0)]
RampShare = Annotated[
    Share,
    shared_setting("Ramp", "Share of training over which the weight rises from 0 to its value.", unit="share of steps"),
]
AlphaRamp = Annotated[
    Share,
    shared_setting(
        "Alpha ramp",
        "Share of training over which alpha rises linearly from 0 (ALBEF: the first epoch).",
        unit="share of steps",
        advanced=True,
    ),
]
LabelSmoothing = Annotated[float, shared_setting("Label smoothing", unit="share", advanced=True, ge=0.0, lt=1.0)]
Prototypes = Annotated[int, shared_setting("Prototypes", ge=2, le=262144)]
Queue = Annotated[int, shared_setting("Queue", unit="pairs", advanced=True, ge=0, le=1048576)]
Temperature = Annotated[float, shared_setting("Temperature", advanced=True, gt=0.0, le=10.0)]
Problems = Iterator[tuple[str, str]]
"""Pairs of a dotted field of the config and a sentence with the remedy."""


class Need(NamedTuple):
    """A setting of an objective that needs another part of the config, and the message if that part is missing."""

    field: str  # the setting, such as "weight"
    remedy: str


class WeightRamp(NamedTuple):
    """A weight that rises from 0 over the first ``share`` of training, linearly or along a sigmoid."""

    share: float = 0.0
    sigmoid: bool = False


class Ramp(NamedTuple):
    """A value that moves linearly from ``first`` to ``last`` over the first ``share`` of training, then is constant."""

    last: float
    share: float = 0.0
    first: float = 0.0


class ObjectiveConfig(Section):
    """The base of all objectives' settings: a weight."""

    learns_from_teacher: ClassVar[bool] = False
    """Whether the targets are the teacher's outputs."""
    learns_classes: ClassVar[bool] = False
    """Whether the objective learns the classes in ``data.label``."""
    learns_unlabelled: ClassVar[bool] = False
    """Whether the objective learns the classes in ``data.label`` from rows without a label."""
    needs_initial_weights: ClassVar[bool] = False
    """Whether the targets are the initial model's features, so that there must be initial weights."""

    weight: Weight = 0.0

    def needs_teacher(self) -> list[Need]:
        """The settings that need a teacher."""
        if not self.learns_from_teacher:
            return []
        remedy = "This objective needs a teacher: set teacher.kind to ema, or set this weight to 0."
        return [Need("weight", remedy)]

    def accepts_stored_targets(self) -> bool:
        """Whether stored features of images and captions can replace the teacher's forward pass."""
        return not self.needs_teacher()

    def reads_additional_views(self) -> bool:
        """Whether the objective reads the student's additional views, as all objectives with a teacher do."""
        return self.learns_from_teacher

    def part_taught_in_every_step(self) -> str:
        """The part of the objective that needs the teacher in every step, for messages; "" if no part does."""
        return ""

    def needs_fusion(self) -> list[Need]:
        """The settings that need a fusion."""
        return []

    def needs_decoder(self) -> bool:
        """Whether the objective needs an architecture with a caption decoder (CoCa)."""
        return False

    def uses_captions(self) -> bool:
        """Whether the objective learns from captions."""
        return True

    def trains_retrieval(self) -> bool:
        """Whether the objective pulls the vectors of an image and its caption together."""
        return False

    def prototype_count(self) -> int:
        """The number of learnt prototypes (the field ``prototypes``); 0 if there are none."""
        return 0

    def tower_defaults(self) -> dict[str, float]:
        """Defaults for fields of open_clip's model configuration that the architecture does not set."""
        return {}

    def weight_ramp(self) -> WeightRamp:
        """The rise of the weight over training."""
        return WeightRamp()

    def alpha_over_training(self) -> Ramp:
        """The teacher's share of the target over training."""
        return Ramp(1.0)

    def temperature_over_training(self) -> Ramp:
        """The temperature of the teacher's softmax over prototypes, over training."""
        return Ramp(1.0)

    def frozen_share(self) -> float:
        """The share of training, from the start, in which the prototypes get no gradient."""
        return 0.0

    def problems(self, context: Context) -> Problems:
        """Other contradictions with the rest of the config; called if the weight is above 0."""
        yield from ()


C = TypeVar("C", bound=ObjectiveConfig)


@dataclass(frozen=True)
class Context:
    """The parts of a config that the rules of an objective read."""

    data: DataConfig
    views: ViewsConfig
    objectives: tuple[ObjectiveConfig, ...]

    def settings_of(self, kind: type[C]) -> C:
        """The settings of another objective."""
        return next(objective for objective in self.objectives if isinstance(objective, kind))
