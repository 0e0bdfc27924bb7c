"""A custom loss as an objective: any module or function of the student's and the teacher's outputs.

Flow: reference in ``objectives.custom`` -> ``core.objectives.build`` -> ``CustomObjective``, which calls the loss in
each step with the arguments that its signature has: ``student``, ``teacher``, ``batch``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from core.custom.calling import accepted_parameters, bind_arguments, construct, is_required
from core.custom.failures import file_of, user_code
from core.custom.loading import CustomCode
from core.data.batch import Batch
from core.model.network import Network
from core.model.outputs import Output
from core.objectives.objective import Objective, Report, require
from core.spec.config import CustomObjectiveConfig
from core.spec.run.code import CodeError

FLAGS = ("needs_views", "needs_patches", "needs_text_tokens")
"""Attributes by which a loss requests more than the features of the clean view; see ``Objective``."""


class CustomObjective(Objective):
    """The loss ``reference``, built with the additional settings of ``config``.

    A module with parameters becomes a head of the network, so that it is optimised and saved. The buffers of a module
    without parameters are saved as buffers of this objective. With several ranks, each rank computes the loss of its
    own rows; gradients are averaged.
    """

    def __init__(self, reference: str, config: CustomObjectiveConfig, code: CustomCode) -> None:
        """Raises CodeError if the loss cannot be loaded or built, or requires unknown arguments."""
        super().__init__(config)
        self.name = reference.rpartition(":")[2]
        self._reference = reference
        target = code.load(reference)
        loss = _build_loss(reference, target, config)
        function = loss.forward if isinstance(loss, nn.Module) else loss
        self._argument_names = accepted_parameters(reference, function, ("student",), ("teacher", "batch"))
        self._file = file_of(target)
        self.learns_from_teacher = is_required(function, "teacher")
        self.needs_teacher = "teacher" in self._argument_names
        for flag in FLAGS:
            setattr(self, flag, bool(getattr(loss, flag, getattr(self, flag))))
        self.needs_views |= self.learns_from_teacher
        self._is_head = isinstance(loss, nn.Module) and any(True for _ in loss.parameters())
        self._loss: list[Callable[..., Any]] = [loss]  # the list prevents registration: a head belongs to the network
        if isinstance(loss, nn.Module) and not self._is_head:
            self.add_module("loss", loss)
        self._batch: Batch | None = None

    def build_head(self, network: Network) -> nn.Module | None:
        loss = self._loss[0]
        return loss if self._is_head and isinstance(loss, nn.Module) else None

    def build_buffers(self, network: Network) -> None:
        if self._is_head:  # the network may have copied or wrapped the head
            self._loss = [network.heads[self.name]]

    def head_outputs(self, network: Network, batch: Batch, output: Output) -> Any:
        """Store the batch for losses that take the argument ``batch``; adds no outputs."""
        self._batch = batch
        return None

    def forward(self, student: Output, teacher: Output | None) -> tuple[Tensor, Report]:
        if self.learns_from_teacher:
            teacher = require(teacher, self.name)
        values = {"student": student, "teacher": teacher, "batch": self._batch}
        with user_code(self._reference, self._file):
            result = self._loss[0](**{name: values[name] for name in self._argument_names})
        loss, report = result if isinstance(result, tuple) and len(result) == 2 else (result, {})
        self._check(loss, report)
        return loss, {f"diag/{self.name}_{name}": torch.as_tensor(value).detach() for name, value in report.items()}

    def _check(self, loss: Any, report: Any) -> None:
        if not isinstance(loss, Tensor):
            raise CodeError(f"{self._reference} returned {type(loss).__name__}; it must return a scalar tensor.")
        if loss.ndim > 0:
            shape = tuple(loss.shape)
            raise CodeError(f"{self._reference} returned a tensor of shape {shape}; return a scalar, such as .mean().")
        if torch.is_grad_enabled() and not loss.requires_grad:
            raise CodeError(
                f"{self._reference} returned a loss without gradient; compute it from the student's outputs."
            )
        if not isinstance(report, dict):
            raise CodeError(
                f"{self._reference} returned {type(report).__name__} in addition to its loss; it must be a dict."
            )


def _build_loss(reference: str, target: Any, config: CustomObjectiveConfig) -> Any:
    """The loss: an instance of the loaded class, the loaded function with its settings, or a module object."""
    if isinstance(target, nn.Module):
        return target
    if isinstance(target, type):
        if not issubclass(target, nn.Module):
            raise CodeError(f"{reference} is not a torch.nn.Module; make it a subclass, or write a function.")
        return construct(reference, target, config.arguments)
    return bind_arguments(reference, target, config.arguments)
