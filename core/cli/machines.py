"""The verbs of machines: ``remote`` (what a connection speaks with) and ``machines``."""

from __future__ import annotations

import argparse

from core.cli.terminal import Verbs


def add(verbs: Verbs) -> None:
    """Add these verbs to the parser."""
    remote = verbs.add_parser("remote", help="serve a window on another computer: JSON requests on stdin")
    remote.add_argument("--runs", default="~/sdgui-runs", metavar="DIR", help="runs folder (default: ~/sdgui-runs)")
    remote.set_defaults(verb=_remote)


def _remote(arguments: argparse.Namespace) -> int:
    from core.remote.server import serve

    return serve(arguments.runs)
