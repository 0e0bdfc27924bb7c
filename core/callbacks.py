"""Callbacks that log trainings of other libraries: PyTorch Lightning, Hugging Face's Trainer, open_clip.

Each accepts a run of `core.start_run`, or its arguments, and imports its library only when it is created:

    trainer = lightning.Trainer(callbacks=[LightningCallback("baseline", project="cifar")])
    trainer = transformers.Trainer(..., callbacks=[TransformersCallback("baseline")])
    with log_open_clip("baseline"):
        open_clip_train.main.main(arguments)

Only the first rank logs.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Number
from types import ModuleType
from typing import Any

from core.spec.errors import UserError
from core.tracking.foreign.huggingface import with_split_prefix
from core.tracking.logged_run import LoggedRun
from core.tracking.starting import start_run

__all__ = ["LightningCallback", "TransformersCallback", "log_open_clip"]


def LightningCallback(name: str | LoggedRun, **settings: Any) -> Any:
    """A callback for ``lightning`` (or ``pytorch_lightning``) that logs all metrics of ``self.log``.

    ``name``: a name for a new run, which gets ``settings`` as arguments of `core.start_run`, or a run that was already
    started. Raises UserError if the library is not installed.
    """
    library = _library("lightning.pytorch", "pytorch_lightning")

    class Callback(library.Callback):  # type: ignore[name-defined, misc]
        run: LoggedRun | None = None

        def on_fit_start(self, trainer: Any, module: Any) -> None:
            if trainer.is_global_zero:
                config = dict(getattr(module, "hparams", {}) or {})
                self.run = _run(name, {"config": config, "total_steps": _steps(trainer.max_steps)} | settings)

        def on_train_batch_end(self, trainer: Any, module: Any, *_rest: Any) -> None:
            if self.run is not None and trainer.global_step % max(1, trainer.log_every_n_steps) == 0:
                self.run.log(_numbers(trainer.logged_metrics), step=trainer.global_step)

        def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
            if self.run is not None and not trainer.sanity_checking:
                self.run.log(_numbers(trainer.callback_metrics), step=trainer.global_step)

        def on_fit_end(self, trainer: Any, module: Any) -> None:
            self._finish(False)

        def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
            self._finish(exception)

        def _finish(self, failed: bool | BaseException) -> None:
            if self.run is not None:
                self.run.finish(failed=failed)

    return Callback()


def TransformersCallback(name: str | LoggedRun, **settings: Any) -> Any:
    """A callback for Hugging Face's ``Trainer`` that logs all metrics of the trainer.

    ``name`` and ``settings``: see `LightningCallback`. The run is finished when training ends; an exception is recorded
    when the process ends. Raises UserError if ``transformers`` is not installed.
    """
    library = _library("transformers")

    class Callback(library.TrainerCallback):  # type: ignore[name-defined, misc]
        run: LoggedRun | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **_rest: Any) -> None:
            if state.is_world_process_zero:
                self.run = _run(name, {"config": args.to_dict(), "total_steps": _steps(state.max_steps)} | settings)

        def on_log(
            self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_rest: Any
        ) -> None:
            if self.run is not None and logs:
                self.run.log(
                    {with_split_prefix(key): value for key, value in _numbers(logs).items()}, step=state.global_step
                )

        def on_train_end(self, args: Any, state: Any, control: Any, **_rest: Any) -> None:
            if self.run is not None:
                self.run.finish()

    return Callback()


@contextmanager
def log_open_clip(name: str | LoggedRun, **settings: Any) -> Iterator[LoggedRun | None]:
    """Log the metrics of open_clip's training (``open_clip_train.main``) while the block runs.

    It replaces wandb in ``open_clip_train``, so train with ``--report-to wandb``; steps and names are the same as with
    wandb. ``name`` and ``settings``: see `LightningCallback`. Yields the run, or None on ranks other than the first.
    Raises UserError if ``open_clip_train`` is not installed.
    """
    modules = [_library("open_clip_train.train"), _library("open_clip_train.main")]
    if os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) != "0":
        yield None
        return
    run = _run(name, settings)
    replacement = _Wandb(run)
    previous_modules = [(module, getattr(module, "wandb", None)) for module in modules]
    installed = sys.modules.get("wandb")
    sys.modules["wandb"] = replacement
    for module in modules:
        module.wandb = replacement
    try:
        with run:
            yield run
    finally:
        for module, previous in previous_modules:
            module.wandb = previous
        if installed is None:
            del sys.modules["wandb"]
        else:
            sys.modules["wandb"] = installed


class _Wandb(ModuleType):
    """A replacement for the functions of wandb that ``open_clip_train`` calls."""

    def __init__(self, run: LoggedRun) -> None:
        super().__init__("wandb")
        self._run = run

    def init(self, **_settings: Any) -> LoggedRun:
        return self._run

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        self._run.log({name: value for name, value in _numbers(values).items() if name != "step"}, step=step)

    def watch(self, *_models: Any, **_settings: Any) -> None:
        """Does nothing, since gradients are not logged."""

    def save(self, *_files: Any, **_settings: Any) -> None:
        """Does nothing, since files are not copied."""

    def finish(self) -> None:
        """Does nothing, since the end of the block finishes the run."""


def _library(*names: str) -> Any:
    """Import the first of these modules that is installed."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
    package = names[0].partition(".")[0]
    raise UserError(f"{package} is not installed; run pip install {package.replace('_train', '_torch')}.")


def _run(name: str | LoggedRun, settings: Mapping[str, Any]) -> LoggedRun:
    return name if isinstance(name, LoggedRun) else start_run(name, **settings)


def _steps(steps: object) -> int:
    return steps if isinstance(steps, int) and steps > 0 else 0


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers and single-value tensors in ``values``; libraries also report texts and lists."""
    return {
        str(name): value
        for name, value in values.items()
        if isinstance(value, Number) or getattr(value, "ndim", None) == 0 or getattr(value, "size", None) == 1
    }
