"""The verbs, for people and scripts without a window: ``python -m core VERB ...``; ``core.cli`` holds them.

Results go to stdout, progress and errors to stderr; the exit status is 0 only on success.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from core.cli import (
    captioning,
    doctor,
    evaluating,
    exporting,
    inspecting,
    machines,
    running,
    searching,
    sharding,
    studying,
    training,
)
from core.spec.failures import drop_output, say_error, sentence

_SUBJECTS = (
    training,
    inspecting,
    evaluating,
    captioning,
    searching,
    studying,
    sharding,
    exporting,
    machines,
    running,
    doctor,
)


def make_parser() -> argparse.ArgumentParser:
    """The verbs and their options; the reference is made from them too."""
    parser = argparse.ArgumentParser(prog="sdgui-core", description="Train, evaluate and use image-language models.")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for subject in _SUBJECTS:
        subject.add(verbs)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; an expected failure is one message on stderr and exit status 1."""
    try:
        try:
            parsed = make_parser().parse_args(arguments)
            return int(parsed.verb(parsed))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # a full disk is noticed while it can still be reported
    except KeyboardInterrupt:
        say_error("interrupted")
        return 130
    except BrokenPipeError:  # the reader (such as head) has closed the pipe
        drop_output()
        return 1
    except Exception as error:  # `sentence` knows the expected ones; a bug keeps its traceback
        told = sentence(error)
        if told is None:
            raise
        drop_output()
        say_error(f"error: {told}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
