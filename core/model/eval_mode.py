"""A network in eval mode for a while, also one that shares modules with a network in training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Every module in eval mode; afterwards each is as it was.

    A teacher of heads alone shares the student's towers: they go on training though the teacher never does.
    """
    training = [module for module in network.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
