"""The commands ``index`` and ``search``: index images as vectors, and search them by text, images, or both."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from core.cli.terminal import Subparsers, add_weights, one_line, periodic_progress, say
from core.spec.config import expand_user
from core.spec.errors import UserError
from core.spec.paths import is_file

if TYPE_CHECKING:
    from core.search.index.build import Report
    from core.search.queries import Term

_MAX_LISTED = 20  # unreadable and moved images that are printed


class _Terms(argparse.Action):
    """Collects --text, --image and --minus in order, so that --weight applies to the preceding query."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, option: str | None = None
    ) -> None:
        terms: list[dict[str, Any]] = [*(getattr(namespace, "terms", None) or [])]
        if option == "--weight":
            if not terms:
                parser.error("--weight must follow the --text, --image or --minus to which it applies")
            terms[-1] = {**terms[-1], "weight": value}
        else:
            terms.append({"kind": (option or "").lstrip("-"), "value": value})
        namespace.terms = terms


def add(subparsers: Subparsers) -> None:
    """Add these commands to the parser."""
    index = subparsers.add_parser("index", help="build an index of images, or update it with new and changed images")
    index.add_argument("model", nargs="?", default="", help="run folder, RUN@STEP, or open_clip:NAME[,PRETRAINED]")
    index.add_argument("source", nargs="?", default="", help="a manifest or a folder of images")
    index.add_argument("index_dir", nargs="?", default="", metavar="INDEX_DIR")
    add_weights(index)
    index.add_argument("--drop-missing", action="store_true", help="remove images whose folder cannot be reached")
    index.add_argument(
        "--relocate",
        nargs=2,
        metavar=("OLD", "NEW"),
        help="the images moved from OLD to NEW: index INDEX_DIR --relocate OLD NEW",
    )
    index.add_argument("--json", action="store_true", help="print the report as JSON")
    index.set_defaults(handler=_index)

    search = subparsers.add_parser("search", help="search an index by text, images, or both")
    search.add_argument("index_dir", metavar="INDEX_DIR")
    search.add_argument("--text", action=_Terms, metavar="WORDS", help="text query; can be repeated")
    search.add_argument("--image", action=_Terms, metavar="FILE", help="image query; can be repeated")
    search.add_argument(
        "--minus", action=_Terms, metavar="WORDS_OR_FILE", help="text or image to search away from; can be repeated"
    )
    search.add_argument(
        "--weight", action=_Terms, type=float, metavar="W", help="weight of the query before it (default: 1)"
    )
    search.add_argument("-k", type=int, default=50, help="number of results (default: 50)")
    search.add_argument("--captions", action="store_true", help="return captions instead of images")
    search.add_argument(
        "--prompts",
        default="raw",
        metavar="NAME_OR_FILE",
        help="prompt templates for text (default: raw, the text alone)",
    )
    search.add_argument("--folder", action="append", default=[], metavar="DIR", help="only images in DIR")
    search.add_argument(
        "--label", action="append", default=[], metavar="NAME=VALUE", help="only images with this label"
    )
    search.add_argument(
        "--min-size", default="0", metavar="SIZE", help="only files of at least this size: bytes, 200KB, 1.5MB"
    )
    search.add_argument("--after", metavar="DATE", help="only files modified since, such as 2024-05-31")
    search.add_argument("--before", metavar="DATE", help="only files modified before")
    search.add_argument("--no-groups", action="store_true", help="list near-duplicates separately")
    search.add_argument("--model", default="", help="path of the model, if it has moved")
    search.add_argument("--json", action="store_true", help="print the full results as JSON")
    search.set_defaults(handler=_search)


def _index(arguments: argparse.Namespace) -> int:
    show = periodic_progress()
    if arguments.relocate:
        from core.search.index.build import relocate

        paths = [value for value in (arguments.model, arguments.source, arguments.index_dir) if value]
        if len(paths) != 1:
            raise UserError("--relocate needs only the index: index INDEX_DIR --relocate OLD NEW.")
        old, new = arguments.relocate
        count = relocate(paths[0], old, new, show)
        print(json.dumps({"relocated": count}) if arguments.json else f"{count} images relocated")
        return 0
    if not arguments.index_dir:
        raise UserError("specify the MODEL, the SOURCE of images and the INDEX_DIR to write.")
    from core.search.index.build import build_index

    report = build_index(
        arguments.model,
        arguments.source,
        arguments.index_dir,
        show,
        say,
        weights=arguments.weights,
        drop_missing=arguments.drop_missing,
    )
    _print_report(report, arguments.json)
    return 0


def _print_report(report: Report, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        print(json.dumps({**asdict(report), "bad": [str(row) for row in report.bad]}))
        return
    print(
        f"{report.images} images and {report.captions} captions: {report.added} added, "
        f"{report.changed} changed, {report.removed} removed, {report.unchanged} unchanged ({report.seconds:.1f} s)"
    )
    print(f"searched by: {report.search_method}")
    if report.unreachable:
        print(f"{report.unreachable} images in unreachable folders were kept; remove them with --drop-missing")
    for row in report.bad[:_MAX_LISTED]:
        print(one_line(f"skipped: {row}"))


def _search(arguments: argparse.Namespace) -> int:
    from core.search.index.storage import existing_manifest

    existing_manifest(expand_user(arguments.index_dir))  # before torch is loaded
    from core.search.collection import open_index
    from core.search.queries import Query
    from core.search.results import Options, Searcher

    terms = tuple(_term(term) for term in getattr(arguments, "terms", None) or [])
    options = Options(
        arguments.k, "captions" if arguments.captions else "images", _filter(arguments), not arguments.no_groups
    )
    collection = open_index(arguments.index_dir, lambda *_: None, arguments.model)  # fast: no progress
    answer = Searcher(collection).search(Query(terms, arguments.prompts), options)
    for note in (*collection.notes, *answer["notes"]):
        say(f"note: {note}")
    if arguments.json:
        print(json.dumps({**answer, "index": collection.title, "search_method": collection.search_method}))
    else:
        _print(answer)
    return 0


def _term(term: dict[str, Any]) -> Term:
    from core.search.queries import Term

    weight = float(term.get("weight", 1.0))
    kind, value = term["kind"], term["value"]
    if not math.isfinite(weight):
        raise UserError(f"--weight {weight} is not a finite number; use a number such as 0.5.")
    if kind == "minus":
        weight, kind = -weight, "image" if is_file(expand_user(value)) else "text"
    return Term(text=value, weight=weight) if kind == "text" else Term(image=str(expand_user(value)), weight=weight)


def _filter(arguments: argparse.Namespace) -> Any:
    from core.search.filters import Filter, read_date, read_size

    labels: dict[str, tuple[str, ...]] = {}
    for label in arguments.label:
        name, equals, value = label.partition("=")
        if not equals:
            raise UserError(f"--label {label} has no value; use --label NAME=VALUE.")
        labels[name] = (*labels.get(name, ()), value)
    return Filter(
        folders=tuple(arguments.folder),
        labels=labels,
        min_size=read_size(arguments.min_size),
        after=None if arguments.after is None else read_date(arguments.after),
        before=None if arguments.before is None else read_date(arguments.before),
    )


def _print(answer: dict[str, Any]) -> None:
    """Print the results as a table, with a line where scores fall to chance level."""
    print(f"{'rank':>5} {'cosine':>7} {'softmax':>8}  image")
    has_mark = False
    for row in answer["rows"]:
        if not has_mark and not row["above_cutoff"]:
            has_mark = True
            print(f"{'':5} {answer['cutoff']['cosine']:7.3f} {'':8}  -- cut-off: {answer['cutoff']['meaning']}")
        missing_note = "" if row.get("exists", True) else "  (moved or deleted)"
        duplicates_note = f"  (+{len(row['duplicates'])} near-identical)" if row["duplicates"] else ""
        caption = f"  {row['caption']}" if row["caption"] else ""
        scores = f"{row['cosine']:7.3f} {row['softmax']:8.1%}"
        print(one_line(f"{row['rank']:5} {scores}  {row['path']}{missing_note}{duplicates_note}{caption}"))
    if not answer["rows"]:
        print("no image matches the filters")
