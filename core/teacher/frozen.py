"""A trained teacher: one network, or an ensemble (previous generations).

Flow: ``core.checkpoint`` opens the networks; ``build_teacher`` builds the teacher. The networks may have different
architectures from the student: images are resized to the input size of each network, and only outputs that both have
are compared.

Legend: B batch, T tokens, N networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from core.data.batch import Batch, View
from core.data.views.making import resize_images
from core.model.errors import ModelError
from core.model.network import Network
from core.model.outputs import Output, ViewOutput
from core.model.towers.towers import Towers
from core.spec.config import TeacherConfig
from core.teacher.teacher import ComparesWithTeacher, HeadOutputs, Teacher


class FrozenTeacher(Teacher):
    """Trained networks with fixed weights (Hinton et al. 2015; Born-Again, Furlanello et al. 2018).

    Several networks form an ensemble: their similarities, prototypes and other outputs are averaged. The networks are
    not saved in checkpoints, but opened again when a run is resumed.
    """

    moves = False

    def __init__(
        self,
        config: TeacherConfig,
        student: Network,
        networks: Sequence[Network],
        objectives: Iterable[ComparesWithTeacher] = (),
    ) -> None:
        """Raises ModelError if the networks cannot provide the targets of an objective."""
        super().__init__(config)
        if not networks:
            raise ModelError("a frozen teacher needs weights; set teacher.checkpoint.")
        self.networks = tuple(networks)
        for network in self.networks:
            network.requires_grad_(False).eval()
            network.returns_text_tokens |= student.returns_text_tokens
            network.returns_patch_tokens |= student.returns_patch_tokens
            _check(student, network, objectives)
        for objective in objectives if len(self.networks) > 1 else ():
            if objective.vector_comparison_setting:
                raise ModelError(
                    f"{_setting(objective)} needs a single teacher, not an ensemble of {len(self.networks)}; set "
                    f"teacher.checkpoint to one teacher, or {_setting(objective)} to 0."
                )

    def targets(self, batch: Batch, head_outputs: HeadOutputs | None = None) -> Output:
        with torch.no_grad():
            outputs = [self._outputs_of(network, batch, head_outputs) for network in self.networks]
            return outputs[0] if len(outputs) == 1 else ensemble(outputs)

    @staticmethod
    def _outputs_of(network: Network, batch: Batch, head_outputs: HeadOutputs | None) -> Output:
        adapted = _adapt_batch(batch, network)
        output = network.forward_teacher(adapted)
        return output if head_outputs is None else head_outputs(network, adapted, output)

    def state_dict(self) -> dict[str, Tensor]:
        """Empty, since the weights stay in their own files."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def _check(student: Network, teacher: Network, objectives: Iterable[ComparesWithTeacher]) -> None:
    """Raise ModelError if ``teacher`` cannot provide the outputs that ``objectives`` compare."""
    ours, theirs = student.towers, teacher.towers
    if ours.tokenizer_digest != theirs.tokenizer_digest:
        raise ModelError(
            "the teacher and the student have different tokenizers; choose a teacher with the same tokenizer."
        )
    for objective in objectives:
        if objective.vector_comparison_setting and ours.embed_dim != theirs.embed_dim:
            raise ModelError(
                f"{_setting(objective)} compares vectors, but the teacher's embed_dim is {theirs.embed_dim}, and the "
                f"student's is {ours.embed_dim}; set {_setting(objective)} to 0 and distil similarities or logits, or "
                "choose a teacher with the same width."
            )
        objective.check_teacher(student, teacher)


def _setting(objective: ComparesWithTeacher) -> str:
    """The setting because of which ``objective`` compares vectors."""
    return f"objectives.{objective.name}.{objective.vector_comparison_setting}"


def _adapt_batch(batch: Batch, network: Network) -> Batch:
    """``batch`` with images and captions in the image size and context length of ``network``."""
    side = network.image_size

    def resize(view: View) -> View:
        if view.local or view.images.shape[-1] == side:
            return view
        return replace(view, images=resize_images(view.images, side))

    towers, source = network.towers, batch.source
    return replace(
        batch,
        texts=_truncate(batch.texts, towers),
        clean=resize(batch.clean),
        teacher=tuple(resize(view) for view in batch.teacher),
        source=source and replace(source, texts=_truncate(source.texts, towers)),
    )


def _truncate(texts: Tensor, towers: Towers) -> Tensor:
    """Captions (B, T) truncated to the context length of ``towers``; a truncated caption ends with the end token."""
    longest = towers.context_length
    if texts.shape[1] <= longest:
        return texts
    end = towers.end_id
    if end is None:
        return texts[:, :longest]
    last = texts[:, longest - 1].masked_fill(texts[:, longest] != towers.pad_id, end)
    return torch.cat([texts[:, : longest - 1], last[:, None]], dim=1)


def ensemble(outputs: Sequence[Output]) -> Output:
    """One output whose similarities are the mean similarities of ``outputs``.

    With s_n the scale of network n and s the mean scale, the vectors of all networks are multiplied by
    sqrt(s_n / (N s)) and concatenated: the result has unit length, and s times its products is
    ``mean_n s_n image_n text_n``.
    """
    scales = torch.stack([output.logit_scale.float() for output in outputs])
    shares = (scales / scales.sum()).sqrt().unbind()

    def concatenate(vectors: Sequence[Tensor]) -> Tensor:
        return torch.cat([share * vector.float() for share, vector in zip(shares, vectors, strict=True)], dim=-1)

    def combine(views: Sequence[ViewOutput]) -> ViewOutput:
        fused = [view.fused for view in views if view.fused is not None]
        return replace(
            views[0],
            image=concatenate([view.image for view in views]),
            fused=concatenate(fused) if len(fused) == len(views) else None,
            prototypes=mean_of([view.prototypes for view in views]),
        )

    first = outputs[0]
    return replace(
        first,
        text=concatenate([output.text for output in outputs]),
        logit_scale=scales.mean(),
        clean=combine([output.clean for output in outputs]),
        distilled=tuple(combine(views) for views in zip(*(output.distilled for output in outputs), strict=True)),
        logit_bias=mean_of([output.logit_bias for output in outputs]),
        extra={name: mean_of([output.extra[name] for output in outputs]) for name in first.extra},
    )


def mean_of(values: Sequence[Any]) -> Any:
    """The mean of tensors, recursively in tuples and dataclasses; other values come from the first element."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.stack([value.float() for value in values]).mean(dim=0) if first.is_floating_point() else first
    if isinstance(first, (tuple, list)):
        return type(first)(mean_of(parts) for parts in zip(*values, strict=True))
    if is_dataclass(first) and not isinstance(first, type):
        parts = {f.name: mean_of([getattr(value, f.name) for value in values]) for f in fields(first) if f.init}
        return replace(first, **parts)
    return first
