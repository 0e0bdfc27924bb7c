"""The config of the study: base models, recipes by family, data, conditions and planned comparisons."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from core.spec.config import Section, Text, field_lines
from core.spec.errors import UserError
from core.spec.reading import MEGABYTE, read_text
from core.spec.study.config import NoiseKind

Measure = Literal[
    "retained at equal gain",
    "retained at equal gain (70 %)",
    "gained at 85 %",
    "gained at 95 %",
    "third artist at 85 %",
    "probe of new images at 85 %",
    "probe of old images at 85 %",
    "top-1 retained at equal gain",
    "top-1 retained at equal gain (70 %)",
    "top-1 gained at 85 %",
]


class Arm(Section):
    """A recipe with one setting. Arms of a ``family`` are settings of one recipe; tuning selects one of them."""

    name: Text
    family: Text
    preset: Text = "clip"
    set: list[Text] = Field([], description="Overrides, FIELD=VALUE.")
    first: list[Text] = Field([], description="Settings of a preceding stage of a third of the steps (LP-FT).")
    replay: float = Field(0.0, ge=0.0, le=1.0, description="Share of pairs of the base data to add.")
    step_share: float = Field(1.0, gt=0.0, le=1.0, description="Share of a condition's steps, for equal time.")
    weights: Literal["student", "teacher"] = "student"
    anchors: list[Literal["captions", "half", "names", "words", "images"]] = Field(
        [],
        description="Text anchors: captions of the base data, those of half of its concepts, the names of its "
        "concepts, or the included words. Image anchors: the images of the base data.",
    )


class Condition(Section):
    """A number of pairs by the new artist, the share of mismatched captions among them, and draws per seed."""

    pairs: int = Field(ge=2)
    mismatched: float = Field(0.0, ge=0.0, lt=1.0)
    kind: NoiseKind = "shuffled"
    draws: int = Field(1, ge=1)
    steps: int = Field(ge=1)
    families: list[Text] = Field([], description="Families to train (default: all).")

    @property
    def name(self) -> str:
        """Such as ``1000-40`` or ``1000-40-in-group``: pairs, and per cent and kind of mismatched captions."""
        return f"{self.pairs}-{100 * self.mismatched:g}" + ("" if self.kind == "shuffled" else f"-{self.kind}")


class ArtistSets(Section):
    """Manifests of pairs by purpose, each with images by other artists; paths below the data folder."""

    gain: Text = Field(description="Pairs by the new artist, split into training and held-out pairs.")
    retain: Text = Field(description="Held-out pairs by the artist whose images the base model was trained on.")
    third: Text = Field(description="Pairs by an artist whose images no model is trained on.")
    probe_train: Text = Field(
        "", description="Old images to train a linear probe of their group. Default: no probes, of new images neither."
    )
    probe_test: Text = Field("", description="Old images to test it.")


class Comparison(Section):
    """A comparison: ``family`` minus ``control``, or, if "", minus the best control without a teacher."""

    family: Text
    control: Text = ""
    measure: Measure
    condition: Text


class AdaptStudy(Section):
    """The config of the study."""

    name: Text
    about: Text = ""
    base: list[Text] = Field(description="Settings of the base models, on preset clip at size demo.")
    base_data: Text
    base_steps: int = Field(ge=1)
    base_seed: int | None = Field(None, description="The seed of the only base model (default: one for each seed).")
    common: list[Text] = Field([], description="Settings of every arm.")
    tuning_sets: ArtistSets
    report_sets: ArtistSets
    tuning_condition: Condition
    tuning_seed: int = 0
    seeds: list[int]
    held_out: int = Field(1000, ge=1, description="Number of held-out pairs by the new and the third artist.")
    alphas: list[float] = Field(description="Points of each path; the first is 0, the initial model.")
    conditions: list[Condition]
    arms: list[Arm]
    without_teacher: list[Text] = Field(description="Arm families that serve as controls without a teacher.")
    primary: list[Comparison]
    exploratory: list[Comparison] = Field([], description="Comparisons that were not planned, reported without p.")

    @model_validator(mode="after")
    def _consistent(self) -> AdaptStudy:
        families = {arm.family for arm in self.arms}
        comparisons = [*self.primary, *self.exploratory]
        named_families = {*self.without_teacher, *(item.family for item in comparisons)}
        named_families |= {item.control for item in comparisons if item.control}
        named_families |= {family for condition in self.conditions for family in condition.families}
        if unknown := sorted(named_families - families):
            raise ValueError(f"there is no family {unknown[0]!r}; check the arms")
        if self.alphas[:1] != [0.0] or sorted(set(self.alphas)) != self.alphas:
            raise ValueError("alphas must increase from 0")
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("two arms have the same name")
        conditions = {item.name for item in self.conditions}
        if unknown := sorted({item.condition for item in comparisons} - conditions):
            raise ValueError(f"there is no condition {unknown[0]!r}; check the conditions")
        return self


def read_adapt_study(path: Path) -> AdaptStudy:
    """The config in ``path``. Raises UserError if it cannot be read or contradicts itself."""
    try:
        return AdaptStudy.model_validate_json(read_text(path, MEGABYTE))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the path.") from error
    except ValidationError as error:
        raise UserError(f"{path} cannot be used:\n{field_lines(error, 'study')}") from error
