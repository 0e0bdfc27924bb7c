"""The commands ``data`` (statistics, duplicates, leaks, damaged files, held-out part) and ``shard`` (WebDataset)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.cli.terminal import Subparsers, folder_path, one_line, periodic_progress, say, seed
from core.spec.errors import UserError

MAX_LISTED = 10  # leaks and bad rows printed without --json


def add(subparsers: Subparsers) -> None:
    """Add these commands to the parser."""
    data = subparsers.add_parser("data", help="show a data source's pairs, labels, bad rows, duplicates and leaks")
    data.add_argument("source", metavar="SOURCE", help="a manifest, a folder of images, or shards")
    data.add_argument(
        "--check", action="store_true", help="read all images: find duplicates, leaks between splits, damaged files"
    )
    data.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="NAME=SOURCE",
        help="another split, to find images that are in both (implies --check)",
    )
    data.add_argument(
        "--hold-out", type=float, metavar="SHARE", help="write two manifests: a training part and a held-out SHARE"
    )
    data.add_argument("--seed", type=seed, default=0, help="seed of the held-out part (default: 0)")
    data.add_argument("--to", type=Path, metavar="DIR", help="folder for the manifests (default: above the images)")
    data.add_argument("--json", action="store_true", help="print everything as JSON")
    data.set_defaults(handler=_data)
    shard = subparsers.add_parser("shard", help="write a data source as WebDataset shards, also for open_clip")
    shard.add_argument("source", metavar="SOURCE", help="a manifest, a folder of images, or other shards")
    shard.add_argument("folder", type=folder_path, metavar="OUT", help="an empty or new folder")
    shard.add_argument("--rows", type=int, default=10_000, metavar="N", help="images per shard (default: 10000)")
    shard.add_argument("--shuffle", type=seed, metavar="SEED", help="shuffle with this seed (default: no shuffling)")
    shard.set_defaults(handler=_shard)


def _data(arguments: argparse.Namespace) -> int:
    from core.worker.data.checking import check_source
    from core.worker.data.rows import open_rows

    progress = _StderrReporter()
    other_splits = dict(map(_split, arguments.against))
    data = open_rows(arguments.source, progress, images_only=True)
    if arguments.check or other_splits:
        split = "" if other_splits else data["split"]
        data |= check_source(arguments.source, progress, other_splits, split)
    if arguments.hold_out is not None:
        from core.worker.data.session import hold_out_split  # loads torch and open_clip

        folder = str(arguments.to.absolute()) if arguments.to else ""
        data |= hold_out_split(arguments.source, progress, arguments.hold_out, arguments.seed, folder)
    if arguments.json:
        print(json.dumps(data))
    else:
        for line in _report_lines(data, arguments.source):
            print(one_line(line))
    return 1 if data.get("unreadable") else 0


class _StderrReporter:
    """A reporter that prints progress on stderr."""

    def __init__(self) -> None:
        self._show = periodic_progress()

    def __call__(self, doing: str, done: int, total: int, /) -> None:
        self._show(doing, done, total)

    def partial(self, result: dict[str, Any]) -> None:
        """Ignore partial results."""


def _split(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not (equals and name and source):
        raise UserError(f"--against '{text}' is not NAME=SOURCE; use, for example, --against val=val.csv.")
    return name, source


def _report_lines(data: Mapping[str, Any], source: str) -> Iterator[str]:
    """The report as text."""
    yield f"{source} ({data['format']})"
    listed = f" (statistics of the first {data['listed']:,})" if data["listed"] < data["images"] else ""
    yield f"images      {data['images']:,}{listed}"
    yield f"captions      {data['pairs']:,}, {data['distinct']:,} different, {data['median_words']:g} words (median)"
    yield "an image     " + ", ".join(f"{images:,} with {number}" for number, images in data["captions"])
    for name, values in data["labels"].items():
        counts = ", ".join(f"{value['value'] or '(none)'} {value['images']:,}" for value in values[:MAX_LISTED])
        more = data["values"][name] - MAX_LISTED
        yield f"label {name}: {data['values'][name]:,} values: {counts}{f', and {more:,} more' if more > 0 else ''}"
    yield f"bad rows      {data['bad']:,}"
    yield from (f"  {bad['where']}: {bad['why']}" for bad in data["reasons"][:MAX_LISTED])
    if "exact" in data:
        yield from _check_lines(data)
    for part in ("train", "held_out"):
        if part in data:
            yield f"{part:<14}{data[part]['path']}: {data[part]['images']:,} images"


def _check_lines(data: Mapping[str, Any]) -> Iterator[str]:
    yield f"broken files  {len(data['broken']):,}"
    yield from (f"  row {image['row']}: {image['why']}" for image in data["broken"][:MAX_LISTED])
    groups, near_groups = data["exact_groups"], data["near_groups"]
    yield f"duplicates    {groups:,} groups with the same bytes, {near_groups:,} nearly the same"
    for name, why in data["unreadable"].items():
        say(one_line(f"{name} cannot be read: {why}"))
    yield f"leaks         {data['leak_count']:,} images that are also in another split"
    for leak in data["leaks"][:MAX_LISTED]:
        yield f"  {leak['file']}: {leak['kind']} as {leak['path']} in {leak['other_split']}"


def _shard(arguments: argparse.Namespace) -> int:
    from core.data.errors import listing
    from core.data.sources.opening import open_source
    from core.data.sources.shards.writing import write_shards

    progress = periodic_progress()
    source = open_source(arguments.source, progress=progress)
    shards = write_shards(
        source,
        arguments.folder,
        lambda done, total: progress("writing images", done, total),
        rows=arguments.rows,
        seed=arguments.shuffle,
    )
    if shards.bad:
        say(f"{len(shards.bad)} rows were skipped:\n{listing(shards.bad)}")
    say(f"{shards.rows} rows in {len(shards.shards)} shards: {arguments.folder}")
    return 0
