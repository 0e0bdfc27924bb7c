"""The command line: ``python -m core COMMAND ...``; ``core.cli`` implements them.

Results go to stdout, progress and errors to stderr; the exit status is 0 only on success.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

import core
from core.cli import (
    captioning,
    doctor,
    evaluating,
    exporting,
    inspecting,
    machines,
    running,
    searching,
    studying,
    sweeping,
    training,
)
from core.cli.runs import mcp_server
from core.cli.terminal import plain_output
from core.spec.config.renamed import OldName, rename_arguments
from core.spec.failures import drop_output, hide_errors_at_exit, is_out_of_memory, say_error, sentence
from core.spec.run.code import allow_everything

_SUBJECTS = (
    training,
    inspecting,
    evaluating,
    captioning,
    searching,
    studying,
    sweeping,
    exporting,
    machines,
    running,
    mcp_server,
    doctor,
)
_OPENING = (  # may run custom code
    "train", "resume", "evaluate", "interpolate", "caption", "index", "search", "noise", "export",
)  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands, from which the reference is generated too."""
    parser = argparse.ArgumentParser(prog="sdgui-core", description="Train, evaluate and use image-language models.")
    parser.add_argument("--version", action="version", version=f"sdgui-core {core.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for subject in _SUBJECTS:
        subject.add(subparsers)
    for name in _OPENING:
        subparsers.choices[name].add_argument(
            "--allow-code", action="store_true", help="run custom code in the run folder of another user"
        )
    return parser


@contextmanager
def _warn_about_old_names() -> Iterator[None]:
    """Print each renamed name once on stderr; other warnings are unchanged."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", OldName)
        original_showwarning = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, OldName):
                say_error(f"warning: {message}")
            else:
                original_showwarning(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; an expected failure is one message on stderr and exit status 1."""
    with plain_output():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    try:
        try:
            with _warn_about_old_names():
                parsed = make_parser().parse_args(rename_arguments(sys.argv[1:] if arguments is None else arguments))
                if getattr(parsed, "allow_code", False):
                    allow_everything()
                return int(parsed.handler(parsed))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # so that a full disk can still be reported
    except KeyboardInterrupt:
        say_error("interrupted")
        return 130
    except BrokenPipeError:  # the reader (such as head) has closed the pipe
        drop_output()
        return 1
    except Exception as error:  # `sentence` returns None for a bug, whose traceback is shown
        message = sentence(error)
        if message is None:
            raise
        error.__traceback__ = error.__context__ = None  # frees what their frames hold: printing needs memory
        drop_output()
        say_error(f"error: {message}")
        if is_out_of_memory(error):
            hide_errors_at_exit()
        return 1


if __name__ == "__main__":
    sys.exit(main())
