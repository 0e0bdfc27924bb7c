"""The exit status of ``runs import``."""

from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.tracking.foreign import importing
from tests.core.tracking.foreign.hostile_logs import record, scalar


@pytest.mark.parametrize(("problems", "status"), [(["locked", ""], 0), (["", "locked"], 1), ([""], 0)])
def test_the_exit_status_of_an_import_is_that_of_the_last_attempt_of_each_run(
    problems: list[str], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "events.out.tfevents.1").write_bytes(record(scalar(1, 1.0)))
    (importer,) = importing.find_importers(tmp_path, tmp_path / "runs", {}).values()

    def import_runs(source: Path, runs_folder: Path, follow: bool, report: Any) -> None:
        for problem in problems:
            report(importer, problem)

    monkeypatch.setattr(importing, "import_runs", import_runs)
    assert main(["runs", "import", str(tmp_path), "--follow", "--home", str(tmp_path)]) == status
