"""The verbs, for people and scripts without a window: ``python -m core VERB ...``; ``core.verbs`` holds them.

Results go to stdout, progress and errors to stderr; the exit status is 0 only on success.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from core.errors import UserError
from core.verbs import captioning, evaluating, searching, studying, training


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sdgui-core", description="Train and judge image-language models.")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for subject in (training, evaluating, captioning, searching, studying):
        subject.add(verbs)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; a failure that the user can mend is one message on stderr and exit status 1."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.verb(parsed))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
