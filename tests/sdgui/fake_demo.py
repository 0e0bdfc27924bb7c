"""``demo-data`` in miniature: writes three tables of one pair each.

``python fake_demo.py [--until FILE] [--fail] DIR``
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--until", type=Path, help="wait until this file is there")
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    print("images 1/2", file=sys.stderr, flush=True)
    while options.until is not None and not options.until.exists():
        time.sleep(0.02)
    if options.fail:
        print("error: the disk is full; free some space.", file=sys.stderr)
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "val", "test"):
        (options.folder / f"{split}.csv").write_text("filepath,title\na.png,a\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
