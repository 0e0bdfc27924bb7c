"""The moving-average teacher: weights that follow the student's, or its whole state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from core.data.batch import Batch
from core.model.eval_mode import evaluating
from core.model.network import Network
from core.model.outputs import Output
from core.ranks.tensors import full_tensor, is_split, load_whole, local
from core.spec.config import TeacherConfig
from core.teacher.teacher import HeadOutputs, Teacher


class EmaTeacher(Teacher):
    """An exponential moving average of the student's parameters (Mean Teacher, Tarvainen and Valpola 2017).

    After each step t, ``teacher = m(t) * teacher + (1 - m(t)) * student``, with m of
    ``core.training.schedules.momenta``. Where it teaches in every k-th step it follows after the one before alone, with
    the product of the m since. Buffers (batch norm's statistics) are the student's, or with ema-state
    averaged alike, counters copied (EMAN, Cai et al. 2021). With part heads the towers are the student's own modules,
    and only fusion and heads are averaged. It starts equal to the student, and stays equal until it begins. Its state
    dict is a network's.
    """

    moves = True

    def __init__(self, config: TeacherConfig, student: Network) -> None:
        super().__init__(config)
        shared = {id(student.towers): student.towers} if config.part == "heads" else {}
        network: Network = copy.deepcopy(student, shared)
        self.networks = (network,)
        self._own = [part for name, part in network.named_children() if part is not student.towers]
        for part in self._own:
            part.requires_grad_(False)
        for parameter in network.parameters(recurse=False):
            parameter.requires_grad_(False)
        network.training = False
        for part in self._own:
            part.eval()

    def targets(self, batch: Batch, head_outputs: HeadOutputs | None = None) -> Output:
        with torch.no_grad(), evaluating(self.network):
            output = self.network.forward_teacher(batch)
            return output if head_outputs is None else head_outputs(self.network, batch, output)

    @torch.no_grad()
    def update(self, student: Network, momentum: float, skipped: Tensor | None = None) -> None:
        part: Callable[[], object] | None = getattr(
            self.network, "reshard", None
        )  # over ranks, where weights are split
        if part is not None:
            part()
        ours, theirs = dict(self.network.named_parameters()), dict(student.named_parameters())
        moved = [name for name, value in ours.items() if value is not theirs[name]]
        followers: list[Tensor] = [ours[name] for name in moved]
        leaders: list[Tensor] = [theirs[name] for name in moved]
        if any(map(is_split, leaders)):  # over ranks: each moves the parts that it has
            leaders = [
                local(one) if is_split(own) else full_tensor(one) for own, one in zip(followers, leaders, strict=True)
            ]
            followers = [local(own) for own in followers]
        share = 1.0 - momentum
        _follow(followers, leaders, share if skipped is None else share * (1.0 - skipped))
        self._follow_buffers(student, share, skipped)

    def _follow_buffers(self, student: Network, share: float, skipped: Tensor | None) -> None:
        theirs = dict(student.named_buffers())
        for name, buffer in self.network.named_buffers():
            if buffer is theirs[name]:
                continue
            averaged = self.config.kind == "ema-state" and buffer.is_floating_point()
            value = buffer.lerp(theirs[name], share) if averaged else theirs[name]
            buffer.copy_(value if skipped is None else torch.where(skipped > 0, buffer, value))

    def state_dict(self) -> dict[str, Tensor]:
        """The network's state, so that a teacher's checkpoint loads into a Network."""
        return self.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        load_whole(self.network, state)


def _follow(followers: list[Tensor], leaders: list[Tensor], share: float | Tensor) -> None:
    """Move ``followers`` in place by ``share`` of the way to ``leaders``.

    As a tensor it is 0 after a skipped step without a word to the host. A GPU has a fused lerp for numbers alone: there
    it is a difference, a product and a sum, each one kernel for many parameters.
    """
    if isinstance(share, Tensor) and share.device.type == "cuda":
        steps: Any = torch._foreach_sub(leaders, followers)
        torch._foreach_mul_(steps, share)
        torch._foreach_add_(followers, steps)
        return
    weight: Any = [share] * len(followers) if isinstance(share, Tensor) else share  # torch's stubs know numbers only
    torch._foreach_lerp_(followers, leaders, weight)
