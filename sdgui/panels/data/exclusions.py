"""Saves the excluded images of a source in a file of the home folder, so that they survive a restart.

Flow: panel -> ``update`` in the background, and ``read`` when the source is opened again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from core.spec.config import expand_user
from core.spec.files import write_whole
from core.spec.shards import names_shards

FOLDER = "exclusions"


def file_of(home: Path, source: str) -> Path:
    """The file with the exclusions of ``source``."""
    location = source if names_shards(source) else str(expand_user(source).absolute())
    return home / FOLDER / f"{hashlib.sha256(location.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.json"


def update(home: Path, source: str, excluded: Iterable[str], included: Iterable[str] = ()) -> None:
    """Exclude the paths ``excluded``, and no longer those ``included``; exclusions by other windows remain.

    Without any exclusion, the file is removed. Raises OSError if the file cannot be read or written.
    """
    import filelock  # noqa: PLC0415  (not needed for reading)

    file = file_of(home, source)
    file.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(file.parent / "lock"):
        paths = dict.fromkeys([*read(home, source), *excluded])  # a set in the order of exclusion
        for path in included:
            paths.pop(path, None)
        if paths:
            content = json.dumps({"source": source, "excluded": list(paths)})
            write_whole(file, content.encode("utf-8", "surrogatepass"))
        else:
            file.unlink(missing_ok=True)


def read(home: Path, source: str) -> list[str]:
    """Read the excluded images; [] if there is no file, or if its content is invalid.

    Raises OSError if the file cannot be read, so that its exclusions are not overwritten.
    """
    try:
        excluded = json.loads(file_of(home, source).read_bytes().decode("utf-8", "surrogatepass"))
        return list(map(str, excluded["excluded"]))
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return []
