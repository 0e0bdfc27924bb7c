"""Callbacks of a training started from Python: ``core.train(..., callbacks=[...])``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from core.custom.failures import file_of, user_code
from core.spec.run.events import Outcome


class Callback:
    """Methods that training calls; override any of them. An exception in a callback fails the run."""

    def on_step(self, step: int, metrics: Mapping[str, Tensor], network: nn.Module) -> None:
        """Called after each optimiser step (from 1) with the student.

        ``metrics``: losses and diagnostics by name (``train/loss``), scalars on the device; reading a value waits for
        the device.
        """

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Called after each validation, with its metrics by name (``val/student/mean_recall``)."""

    def on_end(self, outcome: Outcome) -> None:
        """Called when training ends: "done", "stopped" or "paused". Not called after a failure."""


class Callbacks(Callback):
    """Several callbacks as one; an error contains the line of the callback that failed."""

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        self._all = tuple(callbacks)

    def on_step(self, step: int, metrics: Mapping[str, Tensor], network: nn.Module) -> None:
        self._call("on_step", step, metrics, network)

    def on_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        self._call("on_validation", step, metrics)

    def on_end(self, outcome: Outcome) -> None:
        self._call("on_end", outcome)

    def _call(self, method: str, *arguments: object) -> None:
        for callback in self._all:
            with user_code(f"{type(callback).__name__}.{method}", file_of(callback)):
                getattr(callback, method)(*arguments)
