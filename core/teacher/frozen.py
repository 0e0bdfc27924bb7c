"""A teacher that was trained before: one network, or several that teach together (former generations).

Flow: ``core.checkpoint.opening`` opens the networks; ``build_teacher`` makes the teacher of them, or one that follows
the student. They may have another architecture than the student: pictures are resized to what each takes, and only
outputs that both have are compared.

Legend: B batch, D embed, S side, T tokens, N networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from core.data.batch import Batch, View
from core.model.errors import ModelError
from core.model.heads import PrototypeHead
from core.model.network import Network
from core.model.outputs import Output, ViewOutput
from core.spec.config import RunConfig
from core.teacher.teacher import Look, Teacher


def _comparing_vectors(config: RunConfig) -> list[str]:
    """Fields that compare the student's vectors with the teacher's own: both need one width, and a single teacher."""
    objectives = config.objectives
    queued = objectives.contrastive, objectives.distill_similarity
    asked = {
        "distill_features.weight": objectives.distill_features.weight > 0,
        "contrastive.queue": queued[0].weight > 0 and queued[0].queue > 0,
        "distill_similarity.queue": queued[1].weight > 0 and queued[1].queue > 0,
    }
    return [f"objectives.{field}" for field, is_asked in asked.items() if is_asked]


class FrozenTeacher(Teacher):
    """Trained networks that stay as they are (Hinton et al. 2015; Born-Again, Furlanello et al. 2018).

    Several teach as an ensemble: their similarities, prototypes and other answers are averaged. A checkpoint does not
    keep them; they are opened anew where a run is resumed.
    """

    moves = False

    def __init__(self, config: RunConfig, student: Network, networks: Sequence[Network]) -> None:
        """ModelError names what the student shall learn and the networks cannot teach."""
        super().__init__(config.teacher)
        if not networks:
            raise ModelError("a frozen teacher needs its weights; name them in teacher.checkpoint.")
        self.networks = tuple(networks)
        for network in self.networks:
            network.requires_grad_(False).eval()
            network.text_tokens |= student.text_tokens
            network.patch_tokens |= student.patch_tokens and config.objectives.masked_patches.weight > 0
            _check(config, student, network)
        for field in _comparing_vectors(config) if len(self.networks) > 1 else ():
            raise ModelError(
                f"{field} needs a single teacher; {len(self.networks)} only share their similarities. Name one in "
                "teacher.checkpoint, or set it to 0."
            )

    def targets(self, batch: Batch, look: Look | None = None) -> Output:
        with torch.no_grad():
            outputs = [self._ask(network, batch, look) for network in self.networks]
            return outputs[0] if len(outputs) == 1 else ensemble(outputs)

    @staticmethod
    def _ask(network: Network, batch: Batch, look: Look | None) -> Output:
        fitted = _fitted(batch, network)
        output = network.forward_teacher(fitted)
        return output if look is None else look(network, fitted, output)

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing: the weights are where they came from."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def _check(config: RunConfig, student: Network, teacher: Network) -> None:
    """ModelError when ``teacher`` cannot answer what the objectives ask of it."""
    objectives = config.objectives
    _check_shapes(config, student, teacher)
    if objectives.distill_prototypes.weight > 0:
        mine, other = student.head, teacher.head
        if other is None or mine is None or len(other.prototypes) != len(mine.prototypes):
            raise ModelError(
                "the teacher has no such prototypes as the student; set objectives.distill_prototypes.weight to 0, or "
                "choose a former run with as many prototypes."
            )
    consistency, features = objectives.consistency, objectives.distill_features
    guesses = consistency.kind == "mean-teacher" or (consistency.kind == "fixmatch" and consistency.guess == "teacher")
    by_class = objectives.distill_logits.weight > 0 and objectives.distill_logits.on == "classes"
    by_class = by_class or (consistency.weight > 0 and guesses)
    says = objectives.distill_captions.weight > 0
    through_fusion = objectives.captioning.weight > 0 and objectives.captioning.through == "fusion"
    own_heads = {
        "masked_patches": objectives.masked_patches.weight > 0,
        "masked_words": objectives.masked_words.weight > 0 and objectives.masked_words.alpha > 0,
        "classification": by_class,
        "captioning": says and through_fusion,
        "distill_prototypes": objectives.distill_prototypes.weight > 0,
        "distill_features": features.weight > 0 and features.on == "fused" and not features.cross,
    }
    for name, asked in own_heads.items():
        if asked and name in student.heads and name not in teacher.heads:
            raise ModelError(f"the teacher was not trained with objectives.{name} as it is here; it cannot teach it.")
    if says and not through_fusion:
        try:
            teacher.towers.check_decoder()
        except ModelError as error:
            raise ModelError(f"the teacher cannot say captions: {error}") from error
    if by_class and student.classes != teacher.classes:
        raise ModelError(
            f"the teacher tells other classes apart ({_some(teacher.classes)}) than data.label has "
            f"({_some(student.classes)}); choose a teacher that was trained on these."
        )


def _check_shapes(config: RunConfig, student: Network, teacher: Network) -> None:
    """ModelError when words, vectors or patches of the two networks cannot be compared one by one."""
    ours, theirs = student.towers, teacher.towers
    if ours.words_digest != theirs.words_digest:
        raise ModelError(
            "the teacher splits captions into other words than the student; choose one with its tokenizer."
        )
    objectives = config.objectives
    by_word = {
        "distill_captions.weight": objectives.distill_captions.weight > 0,
        "masked_words.alpha": objectives.masked_words.weight > 0 and objectives.masked_words.alpha > 0,
    }
    for field, asked in by_word.items():
        if asked and theirs.context_length < ours.context_length:
            raise ModelError(
                f"objectives.{field} compares word by word, and the teacher reads {theirs.context_length} tokens where "
                f"the student reads {ours.context_length}; choose a teacher that reads as many, or set it to 0."
            )
    for field in _comparing_vectors(config) if ours.embed_dim != theirs.embed_dim else ():
        raise ModelError(
            f"{field} compares vectors, and the teacher's have {theirs.embed_dim} numbers where the student's have "
            f"{ours.embed_dim}; set it to 0 and distil similarities or logits, or choose a teacher of that width."
        )
    if objectives.masked_patches.weight > 0:
        _check_patches(student, teacher)


def _check_patches(student: Network, teacher: Network) -> None:
    """ModelError when ``teacher`` does not answer patch by patch to what is hidden from the student."""
    ours, theirs = (network.towers.patches_across for network in (student, teacher))
    if not teacher.towers.any_size or ours != theirs:
        grid = f"{theirs} x {theirs} patches" if teacher.towers.any_size else "no patches of its own"
        raise ModelError(
            f"objectives.masked_patches compares patch by patch, and the teacher has {grid} where the student has "
            f"{ours} x {ours}; choose a teacher with that grid, or set objectives.masked_patches.weight to 0."
        )
    heads = [network.heads["masked_patches"] for network in (student, teacher) if "masked_patches" in network.heads]
    counts = [len(head.prototypes) for head in heads if isinstance(head, PrototypeHead)]
    if len(set(counts)) > 1:
        raise ModelError(
            f"objectives.masked_patches.prototypes is {counts[0]}, and the teacher was trained with {counts[1]}; set "
            f"it to {counts[1]}, or choose another teacher."
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _fitted(batch: Batch, network: Network) -> Batch:
    """``batch`` as ``network`` takes it: its picture size, its greatest number of words."""
    side = network.image_size

    def view(one: View) -> View:
        if one.local or one.images.shape[-1] == side:
            return one
        images = F.interpolate(one.images, (side, side), mode="bicubic", antialias=True)  # (B, 3, S, S)
        return replace(one, images=images)

    texts, longest = batch.texts, network.towers.context_length
    if texts.shape[1] > longest:
        end = texts.max()  # the end token has the greatest id of the vocabulary
        texts = texts[:, :longest].clone()
        cut = batch.texts[:, longest] != network.towers.pad_id
        texts[cut, -1] = end
    return replace(batch, texts=texts, clean=view(batch.clean), teacher=tuple(view(one) for one in batch.teacher))


def ensemble(outputs: Sequence[Output]) -> Output:
    """Several networks' outputs as one whose similarities are the mean of theirs.

    With s_n the scale of network n and s their mean, its vectors times sqrt(s_n / (N s)) are put side by side: the
    result has unit length, and s times its products is ``mean_n s_n image_n text_n``.
    """
    scales = torch.stack([output.logit_scale.float() for output in outputs])
    shares = (scales / scales.sum()).sqrt().unbind()

    def joined(vectors: Sequence[Tensor]) -> Tensor:
        return torch.cat([share * one.float() for share, one in zip(shares, vectors, strict=True)], dim=-1)

    def view(views: Sequence[ViewOutput]) -> ViewOutput:
        fused = [one.fused for one in views if one.fused is not None]
        return replace(
            views[0],
            image=joined([one.image for one in views]),
            fused=joined(fused) if len(fused) == len(views) else None,
            prototypes=mean_of([one.prototypes for one in views]),
        )

    first = outputs[0]
    return replace(
        first,
        text=joined([output.text for output in outputs]),
        logit_scale=scales.mean(),
        clean=view([output.clean for output in outputs]),
        distilled=tuple(view(views) for views in zip(*(output.distilled for output in outputs), strict=True)),
        logit_bias=mean_of([output.logit_bias for output in outputs]),
        extra={name: mean_of([output.extra[name] for output in outputs]) for name in first.extra},
    )


def mean_of(values: Sequence[Any]) -> Any:
    """The mean of tensors, through tuples and data classes; what is no float tensor is that of the first."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.stack([value.float() for value in values]).mean(dim=0) if first.is_floating_point() else first
    if isinstance(first, (tuple, list)):
        return type(first)(mean_of(parts) for parts in zip(*values, strict=True))
    if is_dataclass(first) and not isinstance(first, type):
        parts = {f.name: mean_of([getattr(value, f.name) for value in values]) for f in fields(first) if f.init}
        return replace(first, **parts)
    return first
