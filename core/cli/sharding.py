"""The verb ``shard``: any source as WebDataset shards."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.cli.terminal import Verbs, now_and_then, say


def add(verbs: Verbs) -> None:
    """Add this verb to the parser."""
    shard = verbs.add_parser("shard", help="write a data source as WebDataset shards, which open_clip reads too")
    shard.add_argument("source", metavar="SOURCE", help="a manifest, a folder of images, or other shards")
    shard.add_argument("folder", type=Path, metavar="OUT", help="an empty or new folder")
    shard.add_argument("--rows", type=int, default=10_000, metavar="N", help="images in a shard (default: 10000)")
    shard.add_argument("--shuffle", type=int, metavar="SEED", help="in an order drawn with this seed, not the source's")
    shard.set_defaults(verb=_shard)


def _shard(arguments: argparse.Namespace) -> int:
    from core.data.errors import listing
    from core.data.sources.opening import open_source
    from core.data.sources.shards.writing import write_shards

    progress = now_and_then()
    source = open_source(arguments.source, progress=progress)
    written = write_shards(
        source,
        arguments.folder,
        lambda done, total: progress("writing images", done, total),
        rows=arguments.rows,
        seed=arguments.shuffle,
    )
    if written.bad:
        say(f"{len(written.bad)} rows were left out:\n{listing(written.bad)}")
    say(f"{written.rows} rows in {len(written.shards)} shards: {arguments.folder}")
    return 0
