"""The worker in miniature, without torch: it knows what any data hold, and opens no model.

Enough for windows whose tests are about something else; the places have workers in miniature of their own.
"""

from __future__ import annotations

import json
import sys
from typing import Any

FACTS = {"format": "CSV", "pairs": 400, "images": 400, "labels": {}, "bad": 0, "reasons": []}


def reply(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def answer(request: dict[str, Any]) -> None:
    if request["do"] == "describe_source":
        reply(id=request["id"], event="done", result={"source": request["source"], **FACTS})
    else:
        reply(id=request["id"], event="failed", message=f"{request['do']} is not for this worker.", details="")


def main() -> None:
    reply(event="ready")
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "shutdown":
            break
        if request["do"] != "cancel":  # all is answered by then
            answer(request)


if __name__ == "__main__":
    main()
