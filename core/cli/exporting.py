"""The command ``export``: writes a model for other programs, with a model card."""

from __future__ import annotations

import argparse
import signal
from contextlib import suppress
from pathlib import Path

from core.cli.terminal import Subparsers, add_weights, folder_path, periodic_progress, say
from core.spec.run.export_formats import EXPORT_PRECISIONS, FormatName, check_format
from core.spec.run.model_names import locate

FORMATS: dict[str, FormatName] = {
    "open_clip": "open_clip",
    "huggingface": "huggingface",
    "hf": "huggingface",
    "onnx": "onnx",
}


def add(subparsers: Subparsers) -> None:
    """Add this command to the parser."""
    export = subparsers.add_parser(
        "export",
        help="write a model for other programs: open_clip, Hugging Face, ONNX",
        description="Write the towers of a model with a model card. Open the result with open_clip as local-dir:OUT, "
        "with transformers by CLIPModel.from_pretrained(OUT), or load image.onnx and text.onnx with onnxruntime.",
    )
    export.add_argument(
        "model", metavar="MODEL", help="run folder, RUN@STEP, open_clip:NAME[,PRETRAINED], or a saved model's folder"
    )
    export.add_argument("out", type=folder_path, metavar="OUT", help="a new folder")
    export.add_argument("--format", default="open_clip", choices=list(FORMATS), help="default: open_clip")
    add_weights(export)
    export.add_argument(
        "--precision", default="fp32", choices=EXPORT_PRECISIONS, help="precision of the weights (default: fp32)"
    )
    export.add_argument("--licence", default="", metavar="NAME", help="licence to state in the card, such as cc-by-4.0")
    export.add_argument(
        "--report",
        type=Path,
        action="append",
        default=[],
        metavar="JSON",
        help="a report of `evaluate --json` to include",
    )
    export.add_argument("--force", action="store_true", help="replace a folder that an earlier export wrote")
    export.set_defaults(handler=_export)


def _export(arguments: argparse.Namespace) -> int:
    format_name = FORMATS[arguments.format]
    locate(arguments.model, arguments.weights)  # before torch is loaded
    check_format(arguments.model, arguments.weights, format_name, arguments.precision)
    from core.evaluation.report import read_report
    from core.exporting.export import export_model

    with suppress(ValueError):  # handlers can only be set in the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # removes an unfinished export, like Ctrl+C
    folder = export_model(
        arguments.model,
        arguments.weights,
        arguments.out,
        format_name,
        precision=arguments.precision,
        licence=arguments.licence,
        reports=[read_report(path) for path in arguments.report],
        force=arguments.force,
        progress=periodic_progress(seconds=0.0),  # every update
    )
    say(f"{folder}")
    return 0
