"""The command ``caption``: captions for images, as text, JSON lines, a CSV table or ``.txt`` sidecar files."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.cli.terminal import Subparsers, add_weights, one_line, periodic_progress, say
from core.spec.caption_files import (
    HEADER,
    Candidate,
    CaptionedImage,
    CaptionFileError,
    CaptionTable,
    CaptionTableError,
    Sidecars,
    json_line,
    table_rows,
)
from core.spec.errors import UserError
from core.spec.generation import GenerationSettings
from core.spec.run.model_names import locate
from core.training.progress import duration

if TYPE_CHECKING:
    from core.inference.caption_stream import CaptionResult
    from core.inference.images import ImageInput

_STDOUT = Path("-")
_SAMPLING_FIELDS = ("top_k", "top_p", "temperature", "seed")


def add(subparsers: Subparsers) -> None:
    """Add this command to the parser."""
    caption = subparsers.add_parser(
        "caption",
        help="caption images with a CoCa model",
        description="Caption image files and all images in folders. The exit status is 1 if an image fails.",
    )
    caption.add_argument(
        "model", metavar="MODEL", help="run folder, RUN@STEP, open_clip:NAME[,PRETRAINED], or a saved open_clip folder"
    )
    caption.add_argument("images", nargs="+", metavar="IMAGE-or-FOLDER")
    add_weights(caption)
    _add_settings(caption.add_argument_group("generation settings (default: beam search with 6 beams)"))
    form = caption.add_mutually_exclusive_group()
    form.add_argument(
        "--json", action="store_true", help="JSON lines: one object per image, with the model and settings"
    )
    form.add_argument(
        "--csv",
        nargs="?",
        type=Path,
        const=_STDOUT,
        metavar="FILE",
        help="a CSV table, which can be used as training data",
    )
    form.add_argument("--sidecars", action="store_true", help="write NAME.txt next to each NAME.jpg")
    caption.add_argument("--force", action="store_true", help="overwrite existing sidecars and FILE")
    caption.set_defaults(handler=_caption)


def _add_settings(group: Any) -> None:
    group.add_argument("--greedy", action="store_true", help="greedy decoding, the fastest")
    group.add_argument("--beams", type=int, metavar="N", help="number of beams")
    group.add_argument("--top-k", type=int, metavar="K", help="sample from the K most likely tokens")
    group.add_argument(
        "--top-p", type=float, metavar="P", help="nucleus sampling from the most likely tokens with total probability P"
    )
    group.add_argument(
        "--temperature", type=float, metavar="T", help="sampling temperature; values below 1 favour likely tokens"
    )
    group.add_argument("--seed", type=int, metavar="N", help="sampling seed; the same seed gives the same captions")
    group.add_argument(
        "--n", dest="captions", type=int, metavar="N", help="captions per image, best first (default: 1)"
    )
    group.add_argument("--min-length", dest="min_tokens", type=int, metavar="N", help="minimum number of tokens")
    group.add_argument("--max-length", dest="max_tokens", type=int, metavar="N", help="maximum number of tokens")
    group.add_argument("--repetition-penalty", type=float, metavar="X", help="values above 1 discourage repetition")
    group.add_argument("--no-repeat-ngram", type=int, metavar="N", help="prevent N-grams of tokens from repeating")
    group.add_argument(
        "--length-penalty",
        type=float,
        metavar="X",
        help="exponent of the length; values above 0 favour long captions (default: 1)",
    )
    group.add_argument("--prompt", metavar="TEXT", help='start of every caption, such as "an image of"')
    group.add_argument("--batch", type=int, metavar="N", help="batch size")


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The specified fields of GenerationSettings, and the search that they imply."""
    values = {name: getattr(arguments, name, None) for name in GenerationSettings.model_fields}
    fields = {name: value for name, value in values.items() if value is not None}
    sampling = [name for name in _SAMPLING_FIELDS if name in fields]
    beam, greedy = ["beams"] if "beams" in fields else [], ["greedy"] if arguments.greedy else []
    if sum(map(bool, (sampling, beam, greedy))) > 1:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in (*sampling, *beam, *greedy))
        raise UserError(f"{options} belong to different searches; choose sampling, beam search or --greedy.")
    return {**fields, "search": "sample" if sampling else "greedy" if greedy else "beam"}


def _caption(arguments: argparse.Namespace) -> int:
    fields = _settings(arguments)
    if arguments.csv not in (None, _STDOUT) and arguments.csv.suffix.lower() != ".csv":
        raise UserError(
            f"--csv {arguments.csv} does not end in .csv; use --csv FILE.csv, or put --csv last to print the table."
        )
    if arguments.batch is not None and arguments.batch < 1:
        raise UserError(f"--batch {arguments.batch} is not a batch size; use 1 or more.")
    locate(arguments.model, arguments.weights)  # before torch is loaded
    from core.inference.caption_stream import caption_images
    from core.inference.captioning import open_caption_model
    from core.inference.images import find_images

    show = periodic_progress()
    show("loading the model", 0, 0)
    model = open_caption_model(arguments.model, arguments.weights, show)
    for note in model.notes:
        say(f"note: {note}")
    settings = model.settings(fields)
    settings_json = settings.model_dump(mode="json")
    image_files = find_images(arguments.images, show)
    if arguments.csv not in (None, _STDOUT):
        _warn_outside(arguments.csv, image_files.inputs)
    started = time.monotonic()
    with ExitStack() as stack:
        write = _writer(arguments, stack)
        captioned_images = caption_images(model, image_files.inputs, settings, show, say, arguments.batch or 0)
        captioned = failures = 0
        for item in _sort_by_index(stack.enter_context(closing(captioned_images))):
            provenance = {**model.provenance(), "settings": settings_json} if arguments.json or arguments.csv else {}
            reason = item.error or _write(write, item, provenance)
            if reason:
                say(one_line(f"{item.path}: {reason}"))
            captioned, failures = captioned + (not reason), failures + bool(reason)
    skipped = f", {image_files.skipped} other files skipped" if image_files.skipped else ""
    say(f"{captioned} captioned, {failures} failed{skipped}, {duration(time.monotonic() - started)}")
    return 1 if failures else 0


def _warn_outside(table: Path, images: Sequence[ImageInput]) -> None:
    """Report if the table cannot be used as training data because an image is outside its folder."""
    from core.data.sources.rows import confine, roots_of

    roots = roots_of(table.parent)
    for item in images:
        try:
            confine(item.path, roots)
        except ValueError:
            say(
                f"note: {one_line(item.path)} is not inside the folder of {table}, so the table cannot be used as "
                "training data; write the table to a folder above the images."
            )
            return


Writer = Callable[[CaptionedImage], object]


def _write(write: Writer, item: CaptionResult, provenance: dict[str, Any]) -> str:
    """Write one image's captions; returns the reason if writing fails, otherwise ""."""
    captions = [Candidate(candidate["text"], candidate["log_prob"], candidate["score"]) for candidate in item.captions]
    try:
        write(CaptionedImage(item.path, captions, provenance))
    except CaptionTableError:
        raise
    except CaptionFileError as error:
        return str(error)
    return ""


def _writer(arguments: argparse.Namespace, stack: ExitStack) -> Writer:
    """The function that writes or prints each captioned image."""
    if arguments.sidecars:
        return Sidecars(arguments.force).write
    if arguments.csv == _STDOUT:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(HEADER)
        return lambda image: writer.writerows(table_rows(image, None))
    if arguments.csv is not None:
        table = CaptionTable(arguments.csv, force=arguments.force)
        stack.callback(_report_partial_table, table)  # runs after the table is closed
        return stack.enter_context(table).write
    if arguments.json:
        return lambda image: print(json_line(image), flush=True)
    return _print


def _report_partial_table(table: CaptionTable) -> None:
    if table.partial.exists():
        say(f"the table is not complete; the captions so far are in {table.partial}")


def _print(image: CaptionedImage) -> None:
    for caption in image.captions:
        path = one_line(image.path).replace("\t", "\\t")  # the tab separates path and caption
        print(f"{path}\t{caption.text}", flush=True)


def _sort_by_index(items: Iterator[CaptionResult]) -> Iterator[CaptionResult]:
    """``items`` sorted by ``index``; buffers only a few batches."""
    waiting: dict[int, CaptionResult] = {}
    next_index = 0
    for item in items:
        waiting[item.index] = item
        while next_index in waiting:
            yield waiting.pop(next_index)
            next_index += 1
