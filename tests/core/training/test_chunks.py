"""Calls in chunks, value by value: what is cut and what is not, how results are joined, and what is put back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.training import accumulation
from core.training.accumulation import in_chunks


@dataclass(frozen=True)
class Features:
    pooled: Tensor
    name: str
    more: Tensor | None = None
    made: str = field(default="made", init=False)


class Towers(nn.Module):
    """Towers that note what they are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.calls: list[Any] = []

    def encode_image(self, *what: Any, **named: Any) -> Any:
        self.calls.append((what, named))
        return Features(what[0] * self.weight, "image", None)

    def encode_text(self, texts: Tensor, pair: Any, mask: Tensor, scale: float) -> Any:
        self.calls.append((texts, pair, mask, scale))
        return {"all": [texts, (pair["x"], "words")], "mean": texts.float().mean(), "none": None}


class Net:
    def __init__(self) -> None:
        self.towers, self.fusion = Towers(), None


@pytest.fixture
def net() -> Any:
    return Net()


def test_rows_are_cut_and_what_has_none_is_not(net: Any) -> None:
    texts, pair = torch.arange(5), {"x": torch.arange(10).reshape(5, 2), "y": (torch.arange(3), None)}
    mask, calls = torch.ones(7, 7), net.towers.calls
    with in_chunks(net, 2), torch.no_grad():
        found = net.towers.encode_text(texts, pair, mask, scale=torch.tensor(3.0))
    assert [one[0].tolist() for one in calls] == [[0, 1], [2, 3], [4]]
    assert [one[1]["x"].tolist() for one in calls] == [[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9]]]
    assert all(one[1]["y"][0].tolist() == [0, 1, 2] and one[1]["y"][1] is None for one in calls)
    assert all(one[2] is mask and one[3] == 3.0 for one in calls)
    assert found["all"][0].tolist() == [0, 1, 2, 3, 4]
    assert (found["all"][1][0] == pair["x"]).all()
    assert found["all"][1][1] == "words"
    assert (found["mean"], found["none"]) == (0.5, None), "what is no row is that of the first"
    assert isinstance(found["all"], list)
    assert isinstance(found["all"][1], tuple)


@pytest.mark.parametrize(("rows", "wanted"), [(0, [5]), (1, [1] * 5), (2, [2, 2, 1]), (4, [4, 1]), (5, [5]), (9, [5])])
def test_so_many_rows_at_a_time(net: Any, rows: int, wanted: list[int]) -> None:
    images = torch.arange(5.0)
    with in_chunks(net, rows), torch.no_grad():
        found = net.towers.encode_image(images)
    assert [len(what[0]) for what, _ in net.towers.calls] == wanted
    assert found.pooled.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert (found.name, found.more, found.made) == ("image", None, "made")


def test_a_call_without_rows_is_made_once(net: Any) -> None:
    with in_chunks(net, 2), torch.no_grad():
        net.towers.encode_image(torch.tensor(3.0))
    assert len(net.towers.calls) == 1


def test_gradients_compute_each_chunk_again_and_without_them_nothing_is(net: Any) -> None:
    images = torch.arange(5.0)
    with in_chunks(net, 2):
        pooled = net.towers.encode_image(images).pooled
        assert len(net.towers.calls) == 3
        pooled.sum().backward()
    assert len(net.towers.calls) == 6
    assert net.towers.weight.grad == 10.0


def test_methods_are_put_back_whatever_happens_within(net: Any) -> None:
    with pytest.raises(KeyError), in_chunks(net, 2):
        raise KeyError("x")
    assert "encode_image" not in vars(net.towers)
    assert "encode_text" not in vars(net.towers)
    assert not hasattr(net.towers, "decode")


def test_running_statistics_are_those_before_a_second_computation() -> None:
    norm = nn.BatchNorm1d(3)
    with accumulation._frozen_statistics([norm]):
        norm(torch.randn(8, 3))
        assert norm.num_batches_tracked == 1
    assert norm.num_batches_tracked == 0
    assert norm.running_mean is not None
    assert norm.running_mean.tolist() == [0.0, 0.0, 0.0]
    assert accumulation._batch_norms(nn.Sequential(nn.Linear(2, 2), norm)) == [norm]
