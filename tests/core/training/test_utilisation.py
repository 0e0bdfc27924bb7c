"""How well a device is used: the operations of a step against plain arithmetic, speeds against given times."""

from __future__ import annotations

import mmap
import time
from contextlib import closing

import pytest
import torch
from torch import nn

from core.model.runtime import Runtime
from core.training.progress import Pace
from core.training.step.utilisation import count_operations, device_peak_flops, memory_gib, peak_flops


def test_flops_of_a_layer_are_those_of_its_products() -> None:
    layer = nn.Sequential(nn.Linear(6, 10), nn.GELU(), nn.Linear(10, 3))
    layer.compile(backend="eager")

    def step() -> str:
        layer(torch.ones(5, 6)).sum().backward()
        return "done"

    forward = 2 * 5 * (6 * 10 + 10 * 3)
    done, operations = count_operations(step)
    assert done == "done"
    assert operations == forward + forward + 2 * 5 * 10 * 3  # to the weights; to the input of the second layer alone


def test_attention_counts_on_a_cpu() -> None:
    """Two products a head forward; backward both again by either factor, and the scores anew (flash attention)."""
    heads, length, width = 4, 50, 32
    product = 2 * heads * length * length * width
    tokens = torch.randn(1, heads, length, width, requires_grad=True)
    attention = nn.functional.scaled_dot_product_attention
    assert count_operations(lambda: attention(tokens, tokens, tokens))[1] == 2 * product
    assert count_operations(lambda: attention(tokens, tokens, tokens).sum().backward())[1] == (2 + 5) * product

    layer = nn.MultiheadAttention(heads * width, heads, batch_first=True).eval()
    tokens = torch.ones(1, length, heads * width)
    with torch.no_grad():  # torch then has one kernel for the whole layer
        operations = count_operations(lambda: layer(tokens, tokens, tokens, need_weights=False))[1]
    assert operations == 2 * product + 2 * length * 4 * (heads * width) ** 2


@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989e12),
        ("NVIDIA H100 PCIe", "bf16", 756e12),
        ("NVIDIA A100-SXM4-80GB", "fp32", 19.5e12),
        ("NVIDIA A100-SXM4-80GB", "tf32", 156e12),
        ("NVIDIA L40S", "bf16", 362e12),
        ("NVIDIA L40", "bf16", 181e12),
        ("NVIDIA L4", "bf16", 121e12),
        ("A card of tomorrow", "bf16", None),
    ],
)
def test_peak_flops_are_found_by_driver_names(name: str, precision: str, expected: float | None) -> None:
    assert peak_flops(name, precision) == (expected if expected is None else pytest.approx(expected))
    assert device_peak_flops(Runtime(torch.device("cpu"), precision)) is None


def test_peak_memory_includes_held_tensors() -> None:
    device = torch.device("cpu")
    before = memory_gib(device)
    with closing(mmap.mmap(-1, 2**28)) as held:  # a quarter of a GiB, of the system: freed memory may be used again
        held.write(b"1" * len(held))
        assert memory_gib(device) - before > 0.2


def test_speed_excludes_time_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    pace = Pace()
    for waited, computed, between in ((1.0, 3.0, 100.0), (2.0, 2.0, 50.0)):
        pace.start_waiting()
        now[0] += waited
        pace.batch_arrived()
        now[0] += computed
        pace.count_step(16)
        now[0] += between
    assert pace.take_speed(operations=10, peak=100.0) == {
        "train/pairs_per_s": 4.0, "runtime/data_wait": 3 / 8, "runtime/mfu": 10 * 2 / 8 / 100,
    }  # fmt: skip
    pace.start_waiting()
    now[0] += 1.0
    pace.batch_arrived()
    pace.count_step(8)
    assert pace.take_speed() == {"train/pairs_per_s": 8.0, "runtime/data_wait": 1.0}
