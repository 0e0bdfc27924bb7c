"""Remote runs for panels: a worker on their machine, and thumbnails of their images. No Qt.

Flow: ``WorkerPool`` -> ``worker_command(key)`` -> ``sdgui-core worker --on MACHINE``; a thumbnail that is missing under
``HOME/remote-images`` -> ``RemoteImages.fetch`` -> the machine -> a small JPEG in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from core.spec.errors import UserError
from core.spec.files import write_whole
from core.spec.machines.connection import ConnectionState
from core.spec.machines.machines import Machines
from core.spec.machines.path_translation import PathTranslator, remote_image
from core.spec.machines.record import read_record, remote_checkpoint
from core.spec.paths import split_run
from core.spec.run.events import Sample
from core.spec.run.folder import RunDir
from sdgui.runs.program import core_command

SIDE = 512  # longer side of a thumbnail, in pixels
_ANSWER_SECONDS = 20.0  # maximum time to wait for a machine's answer


def worker_command(home: Path, key: str) -> Sequence[str] | None:
    """The command of a remote worker for the model ``key`` (as `open_model` names models); None for a local model.

    A fetched checkpoint is local.
    """
    folder, checkpoint = split_run(key) or (Path(), "")
    run = RunDir(folder)
    try:
        record = read_record(run)
    except UserError:
        return None
    if record is None or not record.folder:
        return None
    name = remote_checkpoint(run, checkpoint or "best")
    if name and (run.checkpoints / name / "checkpoint.json").is_file():
        return None
    return [*core_command(), "worker", "--on", record.machine, "--home", str(home)]


class RemoteImages:
    """Fetches images that are about to be shown. Called in threads that read thumbnails."""

    def __init__(self, home: Path, machines: Machines) -> None:
        self._home, self._machines = home, machines

    def fetch(self, path: Path) -> None:
        """Save a small copy at ``path`` if it refers to an image of another machine; does nothing on failure."""
        location = remote_image(self._home, path)
        if location is None or path.exists():
            return
        machine, remote_path = location
        try:
            if self._machines.states().get(machine, ConnectionState()).kind in ("waiting", "refused"):
                return  # do not block: these threads also read other images
            answer = self._machines.host(machine).images([remote_path], SIDE).result(_ANSWER_SECONDS)
            chunk = answer.get(remote_path)
            if chunk is None:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, chunk.data, durable=False)
        except (UserError, OSError, TimeoutError):
            return


def shown_samples(home: Path, run: RunDir, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """The samples of ``run``, with remote images replaced by the paths of their local copies."""
    try:
        record = read_record(run)
    except UserError:
        record = None
    if record is None:
        return samples
    translator = PathTranslator(home, record.machine)
    return tuple(replace(sample, content=translator.to_local(dict(sample.content))) for sample in samples)
