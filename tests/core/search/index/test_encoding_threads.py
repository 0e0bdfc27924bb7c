"""Threads that encode images compute on one core each, and nobody else does."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

import torch

from core.search.index.encoding import _single_core_threads


def threads_of_another(prepare: Callable[[], None] | None = None) -> int:
    """How many cores a new thread computes on, after ``prepare``."""
    told: list[int] = []

    def tell() -> None:
        if prepare is not None:
            prepare()
        told.append(torch.get_num_threads())

    thread = Thread(target=tell)
    thread.start()
    thread.join()
    return told[0]


def test_encoding_uses_one_thread_and_restores_the_number() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with _single_core_threads(on_cpu=True) as prepare:
            assert threads_of_another(prepare) == 1
        assert (threads_of_another(), torch.get_num_threads()) == (2, 2)
        with _single_core_threads(on_cpu=False) as prepare:
            assert prepare is None
    finally:
        torch.set_num_threads(before)
