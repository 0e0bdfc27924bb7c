"""Alerts are sent once, by whichever program records them first."""

from __future__ import annotations

from pathlib import Path

from core.spec.alerts.evaluating import Alert
from core.spec.alerts.log import ALERTS_FILE, AlertLog

RUN = Path("/runs/one")


def test_an_alert_after_a_line_that_a_killed_program_did_not_finish_is_sent_once(tmp_path: Path) -> None:
    stalled, failed = Alert("stalled", "No step for 9 minutes.", 3, 1.7e9), Alert("failed", "Failed.", 5, 1.7e9)
    assert AlertLog(tmp_path).claim(RUN, stalled)
    with (tmp_path / ALERTS_FILE).open("ab") as file:
        file.write(b'{"run": "/runs/one", "key": "fai')
    assert AlertLog(tmp_path).claim(RUN, failed)
    another = AlertLog(tmp_path)
    assert [another.claim(RUN, alert) for alert in (stalled, failed)] == [False, False]
