"""The network: two towers, an optional fusion, and the heads of its objectives.

Flow: the trainer builds a network as the student; ``core.teacher.teacher`` keeps its moving average. A step calls
``forward_student`` and ``forward_teacher``; evaluation calls ``encode_images``, ``encode_texts`` and ``fuse``.

Legend: B batch, V distilled views, D embed, T tokens, F fused width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.custom.loading import NO_CODE, CustomCode
from core.data.batch import Batch, View
from core.model.custom import customise_towers
from core.model.errors import ModelError
from core.model.fusion import Fused, Fusion, build_fusion
from core.model.heads import PROTOTYPES, PrototypeHead
from core.model.low_rank import LowRank
from core.model.outputs import Output, ViewOutput
from core.model.towers.towers import ImageFeatures, TextFeatures, Towers, build_towers
from core.spec.config import RunConfig

PrototypesOn = Literal["fused", "image", "text"]


class Network(nn.Module):
    """Towers, optional fusion, and heads by name: the shared prototypes, and one per objective with parameters.

    A step encodes all views and the captions, and fuses them if prototypes are applied to the fused representation.
    Objectives compute everything else themselves.
    """

    def __init__(self, towers: Towers, fusion: Fusion | None = None) -> None:
        super().__init__()
        self.towers = towers
        self.fusion = fusion
        self.heads = nn.ModuleDict()
        self.lora: LowRank | None = None  # None unless the towers are trained with LoRA
        self.prototypes_on: PrototypesOn = "fused"  # input of the shared prototypes
        self.classes: tuple[str, ...] = ()  # class names of the classification head
        self.returns_patch_tokens = False  # whether to return the last state of each patch
        self.returns_text_tokens = fusion is not None and fusion.needs_words  # whether to return the state of each word

    @property
    def image_size(self) -> int:
        """Height and width of input images, in pixels."""
        return self.towers.image_size

    def head(self, name: str) -> nn.Module | None:
        """The head of the objective ``name``; None if it has no head."""
        return self.heads[name] if name in self.heads else None  # noqa: SIM401  (a ModuleDict has no get)

    @property
    def prototypes(self) -> PrototypeHead | None:
        """The head that is applied to each distilled view; None if there is none."""
        head = self.head(PROTOTYPES)
        assert head is None or isinstance(head, PrototypeHead)
        return head

    @property
    def logit_scale(self) -> Tensor:
        """Scale of the similarities; scalar, already exponentiated."""
        return self.towers.logit_scale

    @property
    def fused_width(self) -> int:
        """Width of the fused representation. Raises ModelError if the network has no fusion."""
        if self.fusion is None:
            raise ModelError("this network has no fusion; set fusion.kind to a kind other than none.")
        return self.fusion.width

    def blocks(self) -> list[nn.Module]:
        """All transformer blocks: the units of compilation, activation checkpointing and sharding."""
        fused = getattr(self.fusion, "blocks", ())
        return [*self.towers.blocks(), *(block for block in fused if isinstance(block, nn.Module))]

    def add_lora(self, rank: int, alpha: float) -> None:
        """From now on, train the matrices of the towers by low-rank updates, see `LowRank`."""
        self.lora = LowRank(self.towers, rank, alpha)

    def trained_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters that an optimiser trains, with their names: LoRA's factors instead of their matrices."""
        trained = [(name, value) for name, value in self.named_parameters() if value.requires_grad]
        if self.lora is None:
            return trained
        replaced = {id(matrix) for matrix in self.lora.matrices}
        return [(name, value) for name, value in trained if id(value) not in replaced]

    def clamp_logit_scale(self) -> None:
        """Clamp the logit scale to 1..100; called after each optimiser step."""
        self.towers.clamp_logit_scale()

    def forward_student(self, batch: Batch, additional: bool = True, apply_prototypes: bool = True) -> Output:
        """The student's outputs for the clean view and, with ``additional``, its additional views.

        ``distilled`` of the output has the additional views, or the clean view if there are none.
        ``apply_prototypes=False`` skips the prototype head, and the fusion if it is only computed for the head.
        """
        views = batch.student if additional else ()
        return self._forward((batch.clean, *views), batch.texts, len(views), apply_prototypes=apply_prototypes)

    def forward_teacher(self, batch: Batch) -> Output:
        """The teacher's outputs for its own views, or for the clean view if it has none; masks are dropped."""
        views = batch.teacher or (batch.clean,)
        full_views = tuple(view.without_masks() for view in views)
        return self._forward(full_views, batch.texts, len(views), is_teacher=True)

    def encode_images(self, images: Tensor) -> Tensor:
        """Unit vectors (B, D) float32 of uint8 ``images`` (B, 3, H, W)."""
        return _unit(self.towers.encode_image(self.towers.normalise(images)).pooled)

    def encode_texts(self, tokens: Tensor) -> Tensor:
        """Unit vectors (B, D) float32 of captions given as token ids (B, T)."""
        return _unit(self.towers.encode_text(tokens).pooled)

    def fuse(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Joint representations (B, F) of uint8 ``images`` (B, 3, H, W) and their captions (B, T).

        Raises ModelError if the network has no fusion.
        """
        image = self.towers.encode_image(self.towers.normalise(images))
        return self.join(image, self.towers.encode_text(tokens, all_tokens=self.returns_text_tokens)).pooled

    def join(self, image: ImageFeatures, text: TextFeatures, every_word: bool = False, causal: bool = False) -> Fused:
        """The fused representation of image-text pairs (see ``Fusion.forward``).

        Raises ModelError if the network has no fusion.
        """
        if self.fusion is None or image.tokens is None:
            raise ModelError("this network has no fusion; train a network with a fusion.kind other than none.")
        fused: Fused = self.fusion(image.tokens, text, every_word, causal)
        return fused

    def fused_views(self, output: Output) -> tuple[Tensor, ...]:
        """The fused representations (B, F) of the distilled views of ``output``; computed if they are missing."""
        text = output.text_features
        assert text is not None
        views = zip(output.distilled_features, output.distilled, strict=True)
        return tuple(self.join(image, text).pooled if view.fused is None else view.fused for image, view in views)

    def _forward(
        self,
        views: tuple[View, ...],
        tokens: Tensor,
        additional_count: int,
        is_teacher: bool = False,
        apply_prototypes: bool = True,
    ) -> Output:
        """Outputs for ``views``, of which the last ``additional_count`` are distilled; all if it is 0."""
        text = self.towers.encode_text(tokens, all_tokens=self.returns_text_tokens)
        images = self._encode_views(views, is_teacher)
        first = len(views) - (additional_count or len(views))
        fused, logits = self._fused_and_logits(images[first:], text, apply_prototypes)
        outputs = tuple(
            ViewOutput(_unit(image.pooled), view_fused, view_logits, view.mix, view.number, view.local)
            for image, view, view_fused, view_logits in zip(images[first:], views[first:], fused, logits, strict=True)
        )
        clean = ViewOutput(_unit(images[0].pooled), mix=views[0].mix, number=views[0].number) if first else outputs[0]
        return Output(
            text=_unit(text.pooled),
            logit_scale=self.towers.logit_scale,
            clean=clean,
            distilled=outputs,
            logit_bias=self.towers.logit_bias,
            image_features=tuple(images),
            text_features=text,
        )

    def _encode_views(self, views: Sequence[View], is_teacher: bool) -> list[ImageFeatures]:
        """Features of each view; views of the same size and kind are encoded in one batch.

        If an objective needs patch states after the last block (``returns_patch_tokens``), they are returned for the
        student's masked views and for the teacher's views.
        """
        kinds = [(view.images.shape, view.mask is not None, _visible_count(view)) for view in views]
        features: dict[int, ImageFeatures] = {}
        for kind in dict.fromkeys(kinds):
            _, is_masked, _ = kind
            members = [i for i, view_kind in enumerate(kinds) if view_kind == kind]
            images = torch.cat([self._prepare(views[i]) for i in members])
            masks = [mask for i in members if (mask := views[i].mask) is not None]
            indices = [index for i in members if (index := views[i].visible) is not None]
            joint = self.towers.encode_image(
                images,
                torch.cat(masks) if masks else None,
                self.returns_patch_tokens and (is_teacher or is_masked),
                torch.cat(indices) if indices else None,
            )
            features.update(zip(members, joint.chunk(len(members)), strict=True))
        return [features[i] for i in range(len(views))]

    def _prepare(self, view: View) -> Tensor:
        """Normalised images (B, 3, H, W) of the view, interpolated if it has a mix."""
        images = self.towers.normalise(view.images)
        return images if view.mix is None else view.mix.apply(images)

    def _fused_and_logits(
        self, images: Sequence[ImageFeatures], text: TextFeatures, apply_prototypes: bool
    ) -> tuple[Sequence[Tensor | None], Sequence[Tensor | None]]:
        """The fused representation and prototype logits of each view, in one pass; None if they are not computed."""
        nothing: list[Tensor | None] = [None] * len(images)
        head = self.prototypes
        if head is None or not apply_prototypes:
            return nothing, nothing
        views = len(images)
        if self.prototypes_on == "text":
            return nothing, [head(text.before_projection)] * views
        if self.prototypes_on == "image":
            return nothing, head(torch.cat([image.before_projection for image in images])).chunk(views)
        fused = torch.cat([self.join(image, text).pooled for image in images])  # (V B, F)
        return fused.chunk(views), head(fused).chunk(views)


def _visible_count(view: View) -> int:
    """The number of visible patches of ``view``; 0 if all patches are visible."""
    return 0 if view.visible is None else view.visible.shape[1]


def _unit(x: Tensor) -> Tensor:
    """L2-normalised rows, always float32, since similarities are multiplied by up to 100."""
    return F.normalize(x.float(), dim=-1)


def build_backbone(
    config: RunConfig,
    model_cfg: dict[str, Any],
    code: CustomCode = NO_CODE,
    load_weights: Callable[[Towers], object] | None = None,
) -> Network:
    """Towers and fusion of ``config``, without the heads that its objectives add.

    Weights are initialised with torch's global generator; ``load_weights`` may replace them before ``towers.build``
    changes the model. Raises ModelError if the architecture cannot be built, or has no patches for the fusion;
    CodeError if ``towers.build`` cannot be used.
    """
    model_cfg = _fill_defaults(config, model_cfg)
    towers = build_towers(model_cfg)
    if load_weights is not None:
        load_weights(towers)
    if config.towers.build:
        towers = customise_towers(towers, model_cfg, config.towers.build, code)
    if config.views.student.mask > 0:
        towers.add_mask_token()
    towers.freeze(config.towers.freeze, config.towers.freeze_image_blocks)
    _check_views(config, towers)
    return Network(towers, _build_fusion(config, towers))


def _check_views(config: RunConfig, towers: Towers) -> None:
    """Raise ModelError if the image tower does not support a view's image size, or dropping patches."""
    views = config.views
    if views.local.count and views.local.size < 1.0 and not towers.is_open_clip_vit:
        raise ModelError(
            f"{config.towers.architecture} accepts only one image size; set views.local.size to 1, or choose one of "
            "open_clip's own ViTs."
        )
    if views.clean.keep < 1.0 and not towers.is_open_clip_vit:
        raise ModelError(
            f"{config.towers.architecture} cannot drop patches; set views.clean.keep to 1, or choose one of "
            "open_clip's own ViTs."
        )


def _fill_defaults(config: RunConfig, model_cfg: dict[str, Any]) -> dict[str, Any]:
    """``model_cfg`` with missing keys filled in for the active objectives (SigLIP's initial scale and bias)."""
    for _, objective in config.objectives:
        if objective.weight > 0:
            model_cfg = objective.tower_defaults() | model_cfg
    return model_cfg


def _build_fusion(config: RunConfig, towers: Towers) -> Fusion | None:
    if towers.image_token_width is None and config.fusion.kind != "none":
        raise ModelError(
            f"{config.towers.architecture} has no patches for a fusion (a ResNet pools them by attention); choose a "
            "ViT, or set fusion.kind to none."
        )
    return build_fusion(config.fusion, towers.text_width, towers.image_token_width or 0)
