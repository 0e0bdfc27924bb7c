"""The message about a failed or cancelled request to a worker."""

from __future__ import annotations

from collections.abc import Callable

from sdgui.widgets.message import Message, Remedy, error, info
from sdgui.worker.replies import Cancelled, Failure


def failure_message(
    failure: Failure,
    cancelled: str = "Cancelled.",
    retry: Callable[[], object] | None = None,
    continue_label: str = "",
) -> Message:
    """The error, or the text ``cancelled`` if the user cancelled the request.

    ``retry`` repeats the request: the button "Try again", or ``continue_label`` after a cancellation ("": no button).
    """
    if isinstance(failure, Cancelled):
        return info(cancelled, remedy=Remedy(continue_label, retry) if retry is not None and continue_label else None)
    return error(failure.text, failure.details, Remedy("Try again", retry) if retry is not None else None)
