"""Masked patches: the student predicts the teacher's prototypes for patches that are hidden from the student.

Legend: B batch, M hidden patches of all images of a view, K prototypes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.data.batch import Batch
from core.model.errors import ModelError
from core.model.heads import PrototypeHead
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require, require_head
from core.objectives.parts.centring import Centring
from core.objectives.parts.probabilities import cross_entropy_rows, entropy_rows
from core.ranks.collectives import global_count_per_rank, overall_mean, world_size
from core.ranks.transfer import to_device
from core.spec.config import MaskedPatchesConfig

STUDENT_TEMPERATURE = 0.1  # as in DINO


@dataclass(frozen=True)
class HiddenPatches:
    """The logits of one network for the hidden patches of each masked view of the student."""

    logits: tuple[Tensor, ...]  # (M, K) float32 per masked view
    weights: tuple[Tensor, ...]  # (M,) 1 / number of hidden patches of the image, so that masked images count equally


class MaskedPatches(Objective):
    """Match the teacher's prototypes of hidden patches (iBOT, Zhou et al. 2022, equation 1).

    The student sees a view in which a learnt token replaces the hidden patches; the teacher sees the unmasked view.
    With s and t their logits for patch p of image i, from a head on the last block's states, v the student's
    temperature, and q as in DINO,

        loss = mean_i 1/|hidden_i| sum_{p hidden in i} H(q(t_ip), softmax(s_ip / v))

    averaged over the masked views; unmasked images are skipped.
    """

    name = "masked_patches"
    config_class = MaskedPatchesConfig
    needs_patches = True

    def __init__(self, config: MaskedPatchesConfig) -> None:
        super().__init__(config)
        self.prototypes = config.prototypes
        self.targets = Centring(self.prototypes)

    def build_head(self, network: Network) -> nn.Module | None:
        if not network.towers.is_open_clip_vit:
            raise ModelError(
                "objectives.masked_patches needs one of open_clip's own ViTs; choose one, or set the objective's "
                "weight to 0."
            )
        if network.towers.patch_dropout > 0:
            raise ModelError(
                f"objectives.masked_patches compares all patches, but the image tower drops "
                f"{network.towers.patch_dropout:.0%} of them in training; set the objective's weight to 0, or set "
                "patch_dropout to 0 in the architecture's vision_cfg."
            )
        return PrototypeHead(network.towers.patch_width, self.prototypes)

    def check_teacher(self, student: Network, teacher: Network) -> None:
        ours, theirs = (network.towers.patches_across for network in (student, teacher))
        if not teacher.towers.is_open_clip_vit or ours != theirs:
            grid = f"{theirs} x {theirs} patches" if teacher.towers.is_open_clip_vit else "no separate patches"
            raise ModelError(
                f"objectives.masked_patches compares patch by patch, but the teacher has {grid}, and the student has "
                f"{ours} x {ours}; choose a teacher with the same patches, or set "
                "objectives.masked_patches.weight to 0."
            )
        heads = [network.heads[self.name] for network in (student, teacher) if self.name in network.heads]
        counts = [len(head.prototypes) for head in heads if isinstance(head, PrototypeHead)]
        if len(set(counts)) > 1:
            raise ModelError(
                f"objectives.masked_patches.prototypes is {counts[0]}, but the teacher was trained with {counts[1]}; "
                f"set objectives.masked_patches.prototypes to {counts[1]}, or choose another teacher."
            )
        require_head(self.name, student, teacher)

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> HiddenPatches:
        """The logits of ``network`` for the patches that are hidden from the student."""
        features = {view.number: part for view, part in zip(output.distilled, output.distilled_features, strict=True)}
        head = network.heads[self.name]
        logits, weights = [], []
        for view in batch.on_host.student:
            mask = view.mask
            if mask is None:
                continue
            if view.number not in features:
                raise ValueError("masked_patches: the teacher has no output for the student's masked view")
            patches = features[view.number].patches
            assert patches is not None
            hidden = to_device(mask.flatten().nonzero()[:, 0], patches.device)  # (M,)
            logits.append(head(patches.flatten(0, 1).index_select(0, hidden)).float())  # (M, K)
            share = 1.0 / mask.sum(dim=1, keepdim=True).clamp(min=1)  # (B, 1)
            weights.append(to_device(share.expand_as(mask)[mask], patches.device))
        return HiddenPatches(tuple(logits), tuple(weights))

    teacher_head_outputs = head_outputs

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        ours: HiddenPatches = student.extra[self.name]
        theirs: HiddenPatches = require(teacher, self.name).extra[self.name]
        with torch.autocast(student.text.device.type, enabled=False):
            teacher_logits = torch.cat(theirs.logits)
            targets = self.targets(teacher_logits, self.step_values.teacher_temperature)  # (all M, K)
            student_logits, weights = torch.cat(ours.logits) / STUDENT_TEMPERATURE, torch.cat(ours.weights)
            losses = cross_entropy_rows(targets, student_logits)  # (all M,)
            loss = (losses * weights).sum() / global_count_per_rank(weights.sum())
            report = {
                "diag/hidden_patches": torch.tensor(float(world_size() * len(losses))),
                "diag/patch_entropy_over_ln_prototypes": overall_mean(entropy_rows(targets))
                / math.log(targets.shape[1]),
            }
            if self.training:
                self.targets.update(teacher_logits)
        return loss, report
