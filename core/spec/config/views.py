"""Settings of the views axis: crops of an image for student and teacher. Each kind of view has its own section."""

from __future__ import annotations

from typing import Annotated, Literal

from core.spec.config.base import Section, Share, section, setting, shared_setting

Count = Annotated[int, shared_setting("Views", "Number of views of this kind for each image.", ge=0, le=16)]
CropMin = Annotated[
    float,
    shared_setting(
        "Smallest crop", "Smallest share of the image's area in a random crop.", unit="share of area", gt=0.0, le=1.0
    ),
]
CropMax = Annotated[
    float,
    shared_setting(
        "Largest crop", "Largest share of the image's area in a random crop.", unit="share of area", gt=0.0, le=1.0
    ),
]
Flip = Annotated[
    bool,
    shared_setting(
        "Horizontal flip",
        "Flip half of the views horizontally. Leave this off if captions mention left and right.",
        advanced=True,
    ),
]
RandAugmentOps = Annotated[
    int,
    shared_setting(
        "RandAugment operations",
        "Number of random distortions applied in sequence (Cubuk et al. 2020). 0 applies none.",
        ge=0,
        le=8,
    ),
]
RandAugmentMagnitude = Annotated[
    int,
    shared_setting(
        "RandAugment magnitude",
        "Strength of each distortion, from 0 to 30.",
        unit="of 30",
        advanced=True,
        ge=0,
        le=30,
    ),
]
Jitter = Annotated[
    Share,
    shared_setting(
        "Colour jitter",
        "Probability that brightness, contrast, saturation and hue are changed at random (DINO: 0.8).",
        unit="probability",
    ),
]
Greyscale = Annotated[
    Share,
    shared_setting(
        "Greyscale",
        "Probability that a view is converted to greyscale (DINO: 0.2).",
        unit="probability",
        advanced=True,
    ),
]
Blur = Annotated[
    Share,
    shared_setting(
        "Blur",
        "Probability that a view is blurred (DINO: 1 for the first crop, 0.1 for the second, 0.5 for small crops). The "
        "standard deviation is at most 2 pixels at a side of 224.",
        unit="probability",
        advanced=True,
    ),
]


class CleanViewConfig(Section):
    """The student's view for the contrastive loss: neither masked nor interpolated."""

    crop_min: CropMin = 0.8
    flip: Flip = False
    randaugment_ops: RandAugmentOps = 0
    randaugment_magnitude: RandAugmentMagnitude = 9
    keep: float = setting(
        1.0,
        "Kept patches",
        "Share of the patches that the student's image tower processes, drawn at random for each image (FLIP, Li et "
        "al. 2023: 0.5). Dropping the others makes a step faster.",
        unit="share of patches",
        gt=0.0,
        le=1.0,
    )


class StudentViewConfig(Section):
    """The student's additional views: strongly augmented, masked or interpolated."""

    count: Count = 0
    crop_min: CropMin = 0.4
    crop_max: CropMax = 1.0
    flip: Flip = False
    randaugment_ops: RandAugmentOps = 0
    randaugment_magnitude: RandAugmentMagnitude = 9
    jitter: Jitter = 0.0
    saturation: Share = setting(
        0.2,
        "Saturation",
        "Largest change of saturation by the colour jitter: the factor is 1 ± this value (DINO: 0.2, SLIP: 0.4).",
        advanced=True,
    )
    greyscale: Greyscale = 0.0
    blur: Blur = 0.0
    solarize: Share = setting(
        0.0,
        "Solarisation",
        "Probability that bright pixels are inverted (DINO: 0.2 for the second crop).",
        unit="probability",
        advanced=True,
    )
    erase: Share = setting(
        0.0, "Random erasing", "Probability that a rectangle of the view is erased.", unit="probability", advanced=True
    )
    mask: Share = setting(
        0.0, "Masked views", "Probability that patches of a view are masked for the student.", unit="probability"
    )
    mask_share: Share = setting(
        0.4, "Masked patches", "Share of the patches that are masked in a masked view.", unit="share of patches"
    )
    mask_kind: Literal["blocks", "random"] = setting(
        "blocks",
        "Mask shape",
        "blocks masks rectangles of patches (BEiT, iBOT). random masks single patches (MaskCLIP).",
        advanced=True,
    )
    mix: Literal["none", "mixup", "cutmix", "either"] = setting(
        "none",
        "Interpolation",
        "mixup blends two images (Zhang et al. 2018). cutmix pastes a patch of one image into the other (Yun et al. "
        "2019). either chooses one of the two at random for each view.",
    )
    mix_alpha: float = setting(
        0.75,
        "Interpolation alpha",
        "Shares of the two images are drawn from Beta(alpha, alpha). The view's own image gets the larger share "
        "(MixMatch).",
        gt=0.0,
        le=10.0,
        advanced=True,
    )


class LocalViewConfig(Section):
    """The student's local views: small crops at a lower resolution."""

    count: Count = 0
    crop_min: CropMin = 0.05
    crop_max: CropMax = 0.4
    size: float = setting(
        0.43,
        "Side length",
        "Side length of the view as a share of the model's input, rounded to whole patches (DINO: 0.43). A ViT "
        "interpolates its position embeddings.",
        unit="share of side",
        gt=0.0,
        le=1.0,
        advanced=True,
    )
    flip: Flip = False
    jitter: Jitter = 0.0
    greyscale: Greyscale = 0.0
    blur: Blur = 0.0


class TeacherViewConfig(Section):
    """The teacher's own views for its targets. With 0 views, the teacher sees the clean view."""

    count: Count = 1
    crop_min: CropMin = 0.8
    flip: Flip = False


class ViewsConfig(Section):
    """The views of an image for student and teacher."""

    clean: CleanViewConfig = section(CleanViewConfig, "Clean view", "The student's view for the contrastive loss.")
    student: StudentViewConfig = section(
        StudentViewConfig,
        "Additional student views",
        "Views for distillation, image contrast, consistency and, optionally, classification. Without them, "
        "distillation uses the clean view.",
    )
    local: LocalViewConfig = section(
        LocalViewConfig,
        "Student's local views",
        "Small crops at a lower resolution (DINO's multi-crop), used like the additional student views.",
    )
    teacher: TeacherViewConfig = section(
        TeacherViewConfig,
        "Teacher's views",
        "The teacher's own views for its targets. With 0 views, the teacher sees the clean view.",
    )
    shared: bool = setting(
        False,
        "Share the student's views",
        "The teacher sees the student's additional views, without masks and interpolation, instead of views of its own "
        "(DINO, iBOT). Prototype distillation then compares only views of different crops.",
    )
