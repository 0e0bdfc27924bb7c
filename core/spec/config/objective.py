"""The base of all objective settings: a weight, and declarations of what the objective needs.

Flow: ``core.spec.config.contradictions`` gathers the needs and problems of all objectives with a weight; the trainer,
its validation and ``core.spec.presets.recommended`` read the same declarations. None of them names an objective.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple, TypeVar

from pydantic import Field

from core.spec.config.axes import FusionConfig, TeacherConfig
from core.spec.config.base import Section, Share, form_metadata, setting
from core.spec.config.training import DataConfig
from core.spec.config.views import ViewsConfig

# Settings of several objectives: range, title and unit; each gives its own default and description.
RampShare = Annotated[
    Share,
    Field(
        title="Ramp",
        description="The weight rises from 0 over this share of training.",
        json_schema_extra=form_metadata("share of steps"),
    ),
]
AlphaRamp = Annotated[
    Share,
    Field(
        title="Alpha ramp",
        description="Alpha rises linearly from 0 over this share of training (ALBEF: the first epoch).",
        json_schema_extra=form_metadata("share of steps", advanced=True),
    ),
]
LabelSmoothing = Annotated[
    float, Field(ge=0.0, lt=1.0, title="Label smoothing", json_schema_extra=form_metadata("share", advanced=True))
]
Prototypes = Annotated[int, Field(ge=2, le=262144, title="Prototypes", json_schema_extra=form_metadata(""))]
Queue = Annotated[int, Field(ge=0, le=1048576, title="Queue", json_schema_extra=form_metadata("pairs", advanced=True))]
Temperature = Annotated[
    float, Field(gt=0.0, le=10.0, title="Temperature", json_schema_extra=form_metadata("", advanced=True))
]
Problems = Iterator[tuple[str, str]]
"""Dotted fields of the config, each with a sentence that names the remedy."""


class Need(NamedTuple):
    """A setting of an objective that needs another part of the config, and the message if that is missing."""

    field: str  # the setting, such as "weight"
    remedy: str


class WeightRamp(NamedTuple):
    """A weight that rises from 0 over the first ``share`` of training, linearly or along a sigmoid."""

    share: float = 0.0
    sigmoid: bool = False


class Ramp(NamedTuple):
    """A value that moves linearly from ``first`` to ``last`` over the first ``share`` of training, then stays."""

    last: float
    share: float = 0.0
    first: float = 0.0


class ObjectiveConfig(Section):
    """What every objective has: a weight."""

    learns_from_teacher: ClassVar[bool] = False
    """Whether the teacher's outputs are its targets."""
    learns_classes: ClassVar[bool] = False
    """Whether it learns the classes of ``data.label``."""

    learns_unlabelled: ClassVar[bool] = False
    """Whether it learns the same classes from rows without a label."""

    weight: float = setting(0.0, "Weight", "Factor of this loss; 0 disables it.", ge=0.0, le=1000.0)

    def needs_teacher(self) -> list[Need]:
        """The settings that need a teacher."""
        if not self.learns_from_teacher:
            return []
        return [Need("weight", "It needs a teacher: set teacher.kind to ema, or this weight to 0.")]

    def takes_stored(self) -> bool:
        """Whether stored features of images and captions are all that it needs from a teacher."""
        return not self.needs_teacher()

    def reads_views(self) -> bool:
        """Whether it reads the student's additional views; objectives with a teacher always do."""
        return self.learns_from_teacher

    def needs_teacher_in_every_step(self) -> str:
        """The part that needs the teacher in every step, as named in messages; "" if none does."""
        return ""

    def needs_fusion(self) -> list[Need]:
        """The settings that need a fusion."""
        return []

    def needs_decoder(self) -> bool:
        """Whether it needs an architecture with a caption decoder (CoCa), which can write captions afterwards."""
        return False

    def uses_captions(self) -> bool:
        """Whether it learns from captions."""
        return True

    def trains_retrieval(self) -> bool:
        """Whether it pulls the vectors of an image and its caption together."""
        return False

    def prototype_count(self) -> int:
        """The number of prototypes it learns, its field ``prototypes``; 0 when it learns none."""
        return 0

    def tower_defaults(self) -> dict[str, float]:
        """Defaults for fields of open_clip's model configuration that the architecture does not set."""
        return {}

    def weight_ramp(self) -> WeightRamp:
        """How its weight rises."""
        return WeightRamp()

    def alpha_over_training(self) -> Ramp:
        """The teacher's share of the target."""
        return Ramp(1.0)

    def temperature_over_training(self) -> Ramp:
        """The temperature of the teacher's softmax over prototypes."""
        return Ramp(1.0)

    def frozen_share(self) -> float:
        """The share of training, from its start, in which its prototypes get no gradient."""
        return 0.0

    def problems(self, context: Context) -> Problems:
        """Further contradictions with the rest of the config; called if the weight is above 0."""
        yield from ()


C = TypeVar("C", bound=ObjectiveConfig)


@dataclass(frozen=True)
class Context:
    """The rest of a config, for checking the settings of one objective."""

    data: DataConfig
    views: ViewsConfig
    teacher: TeacherConfig
    fusion: FusionConfig
    objectives: tuple[ObjectiveConfig, ...]

    def other(self, kind: type[C]) -> C:
        """The settings of another objective."""
        return next(objective for objective in self.objectives if isinstance(objective, kind))
