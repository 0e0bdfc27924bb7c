"""Sends an alert: runs the user's command without a shell and posts to the user's URL, each within 10 s."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from typing import Any

from core.spec.alerts.watching import RunAlert
from core.spec.chain import run_label
from core.spec.reading import excerpt

TIMEOUT_SECONDS = 10.0


def content(alert: RunAlert) -> dict[str, Any]:
    """The JSON for the command's stdin and the body of the POST. Chat services show ``text``."""
    record = {**asdict(alert.alert), "run": run_label(alert.run.path), "folder": str(alert.run.path)}
    return record | {"text": alert.sentence}


def send(alert: RunAlert) -> list[str]:
    """Run the command and post to the URL of the alert's rules; returns an error message for each failure."""
    failures = []
    if alert.rules.command:
        failures.append(_run(alert))
    if alert.rules.url:
        failures.append(_post(alert))
    return [failure for failure in failures if failure]


def _run(alert: RunAlert) -> str:
    command = [*alert.rules.command, alert.sentence]
    try:
        result = subprocess.run(
            command,
            input=json.dumps(content(alert)).encode(),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"The alert command {excerpt(command[0])} took more than {TIMEOUT_SECONDS:.0f} s and was stopped."
    except (OSError, ValueError) as error:
        return f"The alert command {excerpt(command[0])} cannot be run: {excerpt(str(error))}."
    if result.returncode == 0:
        return ""
    reason = excerpt(result.stderr.decode("utf-8", "replace").strip()) or "no message"
    return f"The alert command {excerpt(command[0])} exited with status {result.returncode}: {reason}."


def _post(alert: RunAlert) -> str:
    from http.client import HTTPException  # noqa: PLC0415
    from urllib.error import HTTPError  # noqa: PLC0415  (urllib takes a tenth of a second)
    from urllib.request import HTTPRedirectHandler, Request, build_opener  # noqa: PLC0415

    class NoRedirects(HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    headers = {"Content-Type": "application/json"}
    request = Request(alert.rules.url, json.dumps(content(alert)).encode(), headers, method="POST")
    try:
        with build_opener(NoRedirects).open(request, timeout=TIMEOUT_SECONDS):
            return ""
    except HTTPError as error:
        return f"The alert address {excerpt(request.host)} answered with status {error.code}."
    except (OSError, HTTPException, ValueError) as error:
        return f"The alert address {excerpt(request.host)} cannot be reached: {excerpt(str(error))}."
