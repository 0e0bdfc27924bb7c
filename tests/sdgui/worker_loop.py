"""What every worker in miniature does: requests come in a thread, since they may cancel the one that is answered."""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

Request = dict[str, Any]


def reply(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def serve(answer: Callable[[Request, set[int]], None]) -> None:
    """``answer`` gets one request after another, and the ids of those that are cancelled, until ``shutdown``."""
    waiting: queue.Queue[Request | None] = queue.Queue()
    cancelled: set[int] = set()

    def listen() -> None:
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "cancel":
                cancelled.add(request["id"])
            elif request["do"] == "shutdown":
                break
            else:
                waiting.put(request)
        waiting.put(None)

    threading.Thread(target=listen, daemon=True).start()
    reply(event="ready")
    while (request := waiting.get()) is not None:
        answer(request, cancelled)
