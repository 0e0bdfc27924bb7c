"""Exports a model as open_clip folder, CLIPModel folder or ONNX, with a model card.

Flow: ``python -m core export``, the window's *Export model* -> `export_model` -> a new folder, which is renamed once it
is complete.

The towers are exported and, for a CoCa in an open_clip folder, the caption decoder. Heads and fusion are specific to
sdgui; the card lists them as not included.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import psutil
import torch
from torch import Tensor

from core.checkpoint.files import read_info, run_config
from core.checkpoint.opening import Model, open_model
from core.checkpoint.tensor_files import save_tensors
from core.data.images import Resizing
from core.data.preprocessing import PublishedData
from core.evaluation.report import Report
from core.exporting.card import CardContent, model_card
from core.exporting.onnx_graphs import write_onnx
from core.model.towers.formats.huggingface import (
    check_clip_model,
    preprocessing_files,
    to_clip_model,
    tokenizer_files,
    tokenizer_json,
)
from core.model.towers.towers import Towers, resolve_architecture
from core.spec.config import without_folders
from core.spec.errors import not_written
from core.spec.reporter import Progress
from core.spec.run.events import Evaluated, EventReader, RunStarted
from core.spec.run.export_formats import ExportError, ExportPrecision, FormatName, check_format
from core.spec.run.model_names import OPEN_CLIP_CONFIG, InterpolatedModel, OpenClipModel, RunNetwork, locate, tuned_of

WEIGHTS_FILES = {"open_clip": "open_clip_model.safetensors", "huggingface": "model.safetensors"}


_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_EXISTS_ERRNOS = (errno.EEXIST, errno.ENOTEMPTY)
_ACTIVITIES = ("opening the model", "writing the weights", "writing the model card")


def _no_progress(*_: object) -> None:
    return


def export_model(
    name: str,
    weights: str,
    out: Path,
    format_name: FormatName,
    *,
    precision: ExportPrecision = "fp32",
    licence: str = "",
    reports: Sequence[Report] = (),
    force: bool = False,
    progress: Progress = _no_progress,
) -> Path:
    """Write the model ``name`` to the folder ``out`` in the format ``format_name``.

    ``weights``: student, teacher or "" (the network with the better validation). ``precision``: that of the weights.
    ``progress`` is called for three steps, and may raise to cancel.

    Raises ExportError if ``out`` exists (``force`` replaces an earlier export) or cannot be written, and UserError for
    an unknown model, or if the format does not support its architecture.
    """
    check_format(name, weights, format_name, precision)
    located = locate(name, weights)
    source = tuned_of(located)
    model_cfg = _architecture(source)
    if format_name != "onnx" and isinstance(source, RunNetwork):
        _check_towers(source, format_name)
    if format_name == "huggingface":
        check_clip_model(model_cfg)
    _clean_up(out)
    _check_target(out, force)
    partial = out.with_name(f".{out.name}.{platform.node()}-{os.getpid()}.partial")
    try:
        progress(_ACTIVITIES[0], 0, len(_ACTIVITIES))
        model = open_model(name, weights)
        partial.mkdir(parents=True)
        progress(_ACTIVITIES[1], 1, len(_ACTIVITIES))
        # Published models keep their own resizing; runs use open_clip's default.
        resizing = model.data.resizing if isinstance(model.data, PublishedData) else Resizing()
        _write(model.network.towers, model_cfg, partial, format_name, precision, resizing)
        progress(_ACTIVITIES[2], 2, len(_ACTIVITIES))
        content = replace(
            _card_content(source, model, model_cfg, out, format_name, licence, reports), precision=precision
        )
        if isinstance(located, InterpolatedModel):
            title = f"{content.title}, interpolated at {located.alpha:g}"
            content = replace(content, title=title, interpolation=_interpolation(located), validation={})
        (partial / "README.md").write_text(model_card(content), encoding="utf-8")
        if content.config is not None:
            (partial / "config.json").write_text(content.config.to_json(), encoding="utf-8")
        _move_to_target(partial, out, force)
    except OSError as error:
        if error.errno in _EXISTS_ERRNOS:
            raise ExportError(f"another program has just created {out}; choose a new folder.") from error
        raise ExportError(not_written(out, error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _check_target(out: Path, force: bool) -> None:
    if not os.path.lexists(out):
        return
    is_export_folder = out.is_dir() and not out.is_symlink() and (out / "README.md").is_file()
    has_weights = any((out / file).is_file() for file in (*WEIGHTS_FILES.values(), "image.onnx"))
    if not (force and is_export_folder and has_weights):
        remedy = "choose a new folder" if force else "choose a new folder, or replace an earlier export with --force"
        raise ExportError(f"{out} already exists; {remedy}.")


def _move_to_target(partial: Path, out: Path, force: bool) -> None:
    before = partial.with_suffix(".before")
    if force and out.is_dir():
        out.rename(before)
    try:
        partial.rename(out)
    finally:
        _restore(before, out)


def _restore(before: Path, out: Path) -> None:
    """Move the earlier export back if nothing has replaced it; otherwise remove it."""
    if before.is_dir() and not os.path.lexists(out):
        before.rename(out)
    shutil.rmtree(before, ignore_errors=True)


def _clean_up(out: Path) -> None:
    """Remove the leftovers of this machine's killed exports next to ``out``, and restore exports that they moved."""
    pattern = re.compile(re.escape(f".{out.name}.{platform.node()}-") + r"(\d{1,9})\.(partial|before)")
    for folder in out.parent.glob(f".{glob.escape(out.name)}.*"):
        match = pattern.fullmatch(folder.name)
        if match is None or (psutil.pid_exists(int(match[1])) and int(match[1]) != os.getpid()):
            continue
        if match[2] == "before":
            _restore(folder, out)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _architecture(source: RunNetwork | OpenClipModel) -> dict[str, Any]:
    if isinstance(source, RunNetwork):
        return dict(read_info(source.run, source.checkpoint).model)
    return resolve_architecture(source.architecture, source.pretrained)


def _check_towers(source: RunNetwork, format_name: FormatName) -> None:
    """Raise ExportError for towers built by the user's code, which a folder for other programs cannot describe."""
    config = run_config(read_info(source.run, source.checkpoint), f"the checkpoint {source.path}")
    if config.towers.build:
        raise ExportError(
            f"{source.name} has custom towers ({config.towers.build}), which the format {format_name} cannot describe; "
            "use the format onnx."
        )


def _write(
    towers: Towers,
    model_cfg: dict[str, Any],
    folder: Path,
    format_name: FormatName,
    precision: ExportPrecision,
    resizing: Resizing,
) -> None:
    state = {name: value.detach().float().cpu() for name, value in towers.clip.state_dict().items()}
    if format_name == "onnx":
        write_onnx(towers, folder)
        files = tokenizer_json(towers.tokenize.open_clip(), towers.context_length)
        files |= preprocessing_files(
            model_cfg, towers.image_mean, towers.image_std, resizing.mode, resizing.interpolation
        )
    elif format_name == "huggingface":
        config, tensors = to_clip_model(model_cfg, state)
        config["torch_dtype"] = str(_DTYPES[precision]).removeprefix("torch.")
        save_tensors(_to_precision(tensors, precision), folder / WEIGHTS_FILES[format_name])
        files = {"config.json": json.dumps(config, indent=2) + "\n"}
        files |= tokenizer_files(towers.context_length)
        files |= preprocessing_files(
            model_cfg, towers.image_mean, towers.image_std, resizing.mode, resizing.interpolation
        )
    else:
        save_tensors(_to_precision(state, precision), folder / WEIGHTS_FILES[format_name])
        cfg = {name: value for name, value in model_cfg.items() if name != "preprocess_cfg"}
        colours = {"mean": list(towers.image_mean), "std": list(towers.image_std)}
        if "multimodal_cfg" in cfg:  # open_clip's CoCa reads the tokens of both towers
            for tower in ("vision_cfg", "text_cfg"):
                cfg[tower] = {**cfg[tower], "output_tokens": True}
        preprocess_cfg = {**colours, "interpolation": resizing.interpolation, "resize_mode": resizing.mode}
        document = {"model_cfg": cfg, "preprocess_cfg": preprocess_cfg}
        files = {OPEN_CLIP_CONFIG: json.dumps(document, indent=2) + "\n"}
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")


def _to_precision(tensors: dict[str, Tensor], precision: ExportPrecision) -> dict[str, Tensor]:
    """``tensors`` with floating-point values in ``precision``. Raises ExportError for infinities and NaN."""
    rounded = {
        name: value.to(_DTYPES[precision]) if value.is_floating_point() else value for name, value in tensors.items()
    }
    for name, value in rounded.items():
        if bool(torch.isfinite(value).all()):
            continue
        if not bool(torch.isfinite(tensors[name]).all()):
            raise ExportError(
                f"{name} has values that are not finite: the training diverged; choose another checkpoint."
            )
        raise ExportError(f"{name} has values that overflow in {precision}; use the precision fp32.")
    return rounded


def _card_content(
    source: RunNetwork | OpenClipModel,
    model: Model,
    model_cfg: dict[str, Any],
    out: Path,
    format_name: FormatName,
    licence: str,
    reports: Sequence[Report],
) -> CardContent:
    content = CardContent(
        title=PurePath(model.subject.title).name,
        format_name=format_name,
        folder=out.name,
        licence=licence,
        model_cfg=model_cfg,
        parameters=sum(value.numel() for value in model.network.towers.clip.parameters()),
        reports=reports,
        evaluation_precision=model.runtime.precision,
        unsupported_parts=_unsupported_parts(model, format_name),
    )
    if isinstance(source, OpenClipModel):
        return content
    info = read_info(source.run, source.checkpoint)
    config = without_folders(run_config(info, f"the checkpoint {source.path}"))
    start_event, validation = _history(source, info.step)
    return replace(
        content,
        title=config.name or out.name,
        network=source.network,
        config=config,
        step=info.step,
        start_event=start_event,
        validation=validation,
    )


def _interpolation(model: InterpolatedModel) -> str:
    """A sentence with both models and alpha, but without folders, which are private."""
    tuned, initial = _card_name(model.tuned), _card_name(model.initial)
    parts = f"{model.alpha:g} times {tuned} plus {1 - model.alpha:g} times {initial}"
    return f"The weights are interpolated (WiSE-FT): {parts}."


def _card_name(source: RunNetwork | OpenClipModel) -> str:
    if isinstance(source, OpenClipModel):
        return " ".join(dict.fromkeys(PurePath(part).name for part in (source.architecture, source.pretrained) if part))
    info = read_info(source.run, source.checkpoint)
    name = run_config(info, f"the checkpoint {source.path}").name or source.run.path.name
    return f"{name} ({source.network}, step {info.step:,})"


def _history(source: RunNetwork, step: int) -> tuple[RunStarted | None, dict[str, float]]:
    """The start event of the training up to ``step``, and the network's metrics at this step."""
    start_event: RunStarted | None = None
    metrics: dict[str, float] = {}
    for event in EventReader(source.run.events).read_all():
        if isinstance(event, RunStarted):
            start_event = event if start_event is None or event.step < step else start_event
        elif isinstance(event, Evaluated) and event.step == step:
            network_part = f"/{source.network}/"
            metrics |= {name: value for name, value in event.values.items() if network_part in name}
    return start_event, metrics


def _unsupported_parts(model: Model, format_name: FormatName) -> list[str]:
    network, parts = model.network, []
    if getattr(network, "fusion", None) is not None:
        parts.append("the fusion of image and text")
    if heads := sorted(getattr(network, "heads", {})):
        parts.append(f"the heads of {', '.join(heads)}")
    if format_name != "open_clip" and hasattr(network.towers.clip, "text_decoder"):
        parts.append("the caption decoder")
    return parts
