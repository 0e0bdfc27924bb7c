"""The recipe of a view: its settings, with distortions switched off that views of its kind do not have."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from core.spec.config import CleanViewConfig, LocalViewConfig, StudentViewConfig, TeacherViewConfig

AnyViewConfig: TypeAlias = CleanViewConfig | StudentViewConfig | LocalViewConfig | TeacherViewConfig


@dataclass(frozen=True)
class ViewRecipe:
    """A random resized crop and the following distortions; none by default."""

    crop_min: float = 0.8  # share of the image's area
    crop_max: float = 1.0
    size: float = 1.0  # share of the model's input side
    flip: bool = False
    randaugment_ops: int = 0
    randaugment_magnitude: int = 9
    jitter: float = 0.0  # probability, like greyscale, blur, solarize, erase and mask
    saturation: float = 0.2  # strength of the jitter in saturation
    greyscale: float = 0.0
    blur: float = 0.0
    solarize: float = 0.0
    erase: float = 0.0
    mask: float = 0.0
    mask_share: float = 0.4  # share of the patches that are masked in a masked view
    mask_kind: Literal["blocks", "random"] = "blocks"
    keep: float = 1.0  # share of the patches that the student reads
    mix: Literal["none", "mixup", "cutmix", "either"] = "none"
    mix_alpha: float = 0.75

    @classmethod
    def of(cls, view: AnyViewConfig) -> ViewRecipe:
        """The recipe of a section of ``views``."""
        return cls(**{field.name: getattr(view, field.name) for field in fields(cls) if hasattr(view, field.name)})
