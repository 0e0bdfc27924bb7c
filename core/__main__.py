"""The verbs, for people and scripts without a window: ``python -m core VERB ...``; ``core.verbs`` holds them.

Results go to stdout, progress and errors to stderr; the exit status is 0 only on success.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from core.errors import UserError, is_full, not_written
from core.verbs import captioning, evaluating, searching, studying, training


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core", description="Train and judge image-language models.")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for subject in (training, evaluating, captioning, searching, studying):
        subject.add(verbs)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; a failure that the user can mend is one message on stderr and exit status 1."""
    parsed = _parser().parse_args(arguments)
    try:
        status = int(parsed.verb(parsed))
        sys.stdout.flush()  # here, where a full disk can still be said
        return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if not is_full(error):
            raise
        print(f"error: {not_written(error.filename or 'the output', error)}", file=sys.stderr)
        if (stdout := sys.__stdout__) is not None and stdout is sys.stdout:  # what it holds is not tried again
            os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
