"""The exit status of ``runs import``."""

import os
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main
from core.tracking.foreign import finding, importing, mlflow
from core.tracking.foreign.runs import ForeignError, ForeignRun
from tests.core.tracking.foreign.hostile_logs import record, scalar


@pytest.mark.parametrize(("problems", "status"), [(["locked", ""], 0), (["", "locked"], 1), ([""], 0)])
def test_the_exit_status_of_an_import_is_that_of_the_last_attempt_of_each_run(
    problems: list[str], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "events.out.tfevents.1").write_bytes(record(scalar(1, 1.0)))
    (importer,) = importing.new_importers(finding.find_runs(tmp_path), tmp_path / "runs", {}).values()

    def import_runs(source: Path, runs_folder: Path, follow: bool, report: Any) -> None:
        for problem in problems:
            report(importer, problem)

    monkeypatch.setattr(importing, "import_runs", import_runs)
    assert main(["runs", "import", str(tmp_path), "--follow", "--home", str(tmp_path)]) == status


@pytest.mark.parametrize("has_table", [True, False])
def test_a_folder_that_cannot_be_read_or_has_a_damaged_database_does_not_stop_the_others(
    has_table: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(folder: Path, files: set[str], root: Path) -> list[ForeignRun]:
        if "mlflow.db" in files:
            raise ForeignError("mlflow.db cannot be read: database disk image is malformed; check the file.")
        return []

    def scan(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return real_scan(path)

    monkeypatch.setattr(mlflow, "find", find)
    real_scan = os.scandir
    monkeypatch.setattr(os, "scandir", scan)
    (tmp_path / "logs" / "locked").mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "logs" / name).mkdir(parents=True)
    (tmp_path / "logs" / "a" / "mlflow.db").touch()
    if has_table:
        (tmp_path / "logs" / "b" / "metrics.csv").write_text("step,loss\n1,1\n")
    assert main(["runs", "import", str(tmp_path / "logs"), "--home", str(tmp_path)]) == 1
    output = capsys.readouterr()
    assert "mlflow.db cannot be read" in output.err
    assert f"{tmp_path / 'logs' / 'locked'} cannot be read: Permission denied." in output.err or not has_table
    assert ("table  1 points" in output.out) is has_table
