"""What evaluators share: refused features are named, precision is given back, a part's progress is a part."""

from __future__ import annotations

import contextlib

import pytest
import torch

from core.metrics.inputs import EvaluationError, check_features, full_precision, part_of, unit_rows
from core.model import runtime
from core.model.runtime import RuntimeUnavailable, set_up
from core.spec.config import RuntimeConfig
from core.spec.failures import is_out_of_memory


def test_non_finite_rows_are_named() -> None:
    features = torch.zeros(9, 3, dtype=torch.float64, requires_grad=True)
    checked = check_features(features, "x")
    assert (checked.dtype, checked.requires_grad) == (torch.float32, False)
    broken = torch.zeros(9, 3)
    broken[[0, 2, 3, 5, 7, 8], 1] = torch.inf
    with pytest.raises(EvaluationError, match=r"6 of 9 x contain NaN or infinity \(rows 0, 2, 3, 5, 7, \.\.\.\)"):
        check_features(broken, "x")
    broken = torch.zeros(2, 3)
    broken[1, 0] = torch.nan
    with pytest.raises(EvaluationError, match=r"1 of 2 x contain NaN or infinity \(rows 1\); the model diverged"):
        check_features(broken, "x")
    with pytest.raises(EvaluationError, match=r"there are no x to evaluate \(shape \(0, 3\)\)"):
        check_features(torch.zeros(0, 3), "x")
    with pytest.raises(EvaluationError, match=r"x must be a matrix .* not of shape \(3,\)"):
        check_features(torch.zeros(3), "x")
    assert unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)],
        [0, 0],
    ]


def test_precision_is_full_inside_and_restored_afterwards() -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with (
            torch.autocast("cpu", dtype=torch.bfloat16),
            contextlib.suppress(KeyError),
            full_precision(torch.device("cpu")),
        ):
            assert torch.get_float32_matmul_precision() == "highest"
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
            assert not torch.is_grad_enabled()
            raise KeyError
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_progress_of_a_part_is_scaled() -> None:
    told: list[tuple[float, str]] = []
    watch = part_of(lambda share, doing: told.append((share, doing)), 0.4, 0.6)
    for share in (0.0, 0.5, 1.0):
        watch(share, "x")
    part_of(lambda share, doing: told.append((share, doing)), 0.0, 0.5, "all")(1.0, "x")
    assert told == [(0.4, "x"), (0.5, "x"), (pytest.approx(0.6), "x"), (0.5, "all")]


def test_device_threads_and_precision_are_those_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    before, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        set_up(RuntimeConfig(device="cpu", threads=3))
        assert torch.get_num_threads() == 3
        assert torch.get_float32_matmul_precision() == products
        set_up(RuntimeConfig(device="cpu", tf32=True))
        assert torch.get_float32_matmul_precision() == "high"
        set_up(RuntimeConfig(device="cpu"))
        assert torch.get_num_threads() == 3, "0 leaves it"
    finally:
        torch.set_num_threads(before)
        torch.set_float32_matmul_precision(products)
    for has in (True, False):
        monkeypatch.setattr(runtime, "has_bf16", lambda device, has=has: has)
        assert set_up(RuntimeConfig(device="cpu")).precision == ("bf16" if has else "fp32")
        assert set_up(RuntimeConfig(device="cpu", precision="fp32")).precision == "fp32"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(RuntimeUnavailable, match=r"this machine has no mps device"):
        set_up(RuntimeConfig(device="mps"))


def test_a_gpu_device_has_an_index_like_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is there would be sent again to "cuda", which is not equal to "cuda:0"."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert set_up(RuntimeConfig(device="cuda", precision="fp32")).device == torch.device("cuda:0")
    assert set_up(RuntimeConfig(device="cuda", precision="fp32"), gpu=3).device == torch.device("cuda:3")


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("shapes"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_out_of_memory_is_distinguished_from_other_errors(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one
