"""Data that one process of a host has read are the same data for the others, and the wait for them can be stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core.data import dataset as dataset_module
from core.data.dataset import open_dataset
from core.data.preprocessing import decoding_for
from core.data.sources.sharing import one_process_at_a_time, shared_file
from core.spec.config import DataConfig
from tests.core.data.samples import tokenize, write_pairs

SIZE = 16


@pytest.mark.parametrize("cache_mib", [0, 64])
def test_one_process_per_host_reads_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_mib: int
) -> None:
    path = write_pairs(tmp_path, 6, captions=2)
    path.write_text(path.read_text() + "nowhere.png,a caption\n")
    config = DataConfig(cache_mib=cache_mib, max_bad_share=0.5)
    first = open_dataset(path, config, SIZE, tokenize, shared="this launch")

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("it was read again")

    monkeypatch.setattr(dataset_module, "open_source", refuse)
    second = open_dataset(path, config, SIZE, refuse, shared="this launch")
    assert (second._cache is None, second.digest(), second.all_bad()) == (
        cache_mib == 0,
        first.digest(),
        first.all_bad(),
    )
    assert list(second.rows) == list(first.rows)
    assert all(torch.equal(second.image(row), first.image(row)) for row in range(6))
    with pytest.raises(AssertionError, match="read again"):
        open_dataset(path, config, SIZE, tokenize, shared="another launch")


def test_the_wait_for_another_process_can_be_stopped(tmp_path: Path) -> None:
    class StopAskedError(Exception):
        pass

    def stop(doing: str, done: int, total: int) -> None:
        if "waiting" in doing:
            raise StopAskedError

    path, config = write_pairs(tmp_path, 4), DataConfig()
    file = shared_file("this launch", str(path), decoding_for(SIZE, config), config.cache_mib)
    with one_process_at_a_time(file, lambda: None), pytest.raises(StopAskedError):
        open_dataset(path, config, SIZE, tokenize, shared="this launch", progress=stop)
    assert len(open_dataset(path, config, SIZE, tokenize, shared="this launch", progress=stop)) == 4
