from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash import evaluate


def test_quantization_angle():
    u = torch.tensor([[1.0, -1.0], [2.0, 0.0], [-3.0, -3.0]])
    assert evaluate.quantization_angle(u) == pytest.approx(np.pi / 4 / 3, abs=1e-7)
    assert evaluate.quantization_angle(u.numpy()) == evaluate.quantization_angle(u * 4)
    assert evaluate.quantization_angle(torch.ones(1, 3)) == 0  # whose cosine is rounded to above 1
    assert np.isnan(evaluate.quantization_angle(torch.zeros(1, 3)))


@pytest.mark.parametrize(
    ("u", "error", "message"),
    [
        (torch.ones(3, 2).long(), TypeError, "expected u of a floating-point dtype, got int64"),
        (torch.ones(3), ValueError, r"expected u of shape \[n, m\], got \[3\]; pass u\[None\] for a single row"),
        (torch.ones(0, 2), ValueError, r"expected u with at least one row and one column, got \[0, 2\]"),
        (torch.ones(2, 0), ValueError, r"expected u with at least one row and one column, got \[2, 0\]"),
        (np.array([["a"]], object), TypeError, "expected u to be a numeric array, got dtype object"),
    ],
)
def test_bad_input_to_quantization_angle(u, error, message):
    with pytest.raises(error, match=f"^quantization_angle: {message}$"):
        evaluate.quantization_angle(u)


def test_bit_entropy():
    signs = torch.tensor([[1, 1, -1, 1.0] + [1] * 6, [1, -1, -1, 1.0] + [1] * 6, [1, -1, -1, -1.0] + [1] * 6] * 5)
    codes = fh.pack_bits(signs)
    third = -(np.log2(1 / 3) / 3 + 2 * np.log2(2 / 3) / 3)
    expected = [0, third, 0, third] + [0] * 6
    np.testing.assert_allclose(evaluate.bit_entropy(codes, 10), expected, atol=1e-12)
    assert evaluate.bit_entropy(codes.numpy()).shape == (16,)
    assert evaluate.bit_entropy(codes, 10).dtype == torch.float64
    assert evaluate.bit_entropy(codes, 1).tolist() == [0]
    assert evaluate.bit_entropy(torch.zeros(1, 512, dtype=torch.uint8)).shape == (4096,)


@pytest.mark.parametrize(
    ("codes", "n_bits", "error", "message"),
    [
        (torch.zeros(2, 2, dtype=torch.uint8), 17, ValueError, "expected n_bits from 1 to 16, got 17"),
        (torch.zeros(2, 2, dtype=torch.uint8), 0, ValueError, "expected n_bits from 1 to 16, got 0"),
        (torch.zeros(2, 600, dtype=torch.uint8), None, ValueError, "expected codes of 1 to 512 bytes a row, got 600"),
        (torch.zeros(2, 2, dtype=torch.uint8), 8.0, TypeError, "expected n_bits to be an integer, got float"),
        (torch.zeros(0, 2, dtype=torch.uint8), None, ValueError, "expected codes with at least one row, got none"),
        (torch.zeros(2, 2), None, TypeError, "expected codes of dtype uint8.*, got float32"),
        (np.array([["a"]], object), None, TypeError, "expected codes to be a numeric array, got dtype object"),
    ],
)
def test_bad_input_to_bit_entropy(codes, n_bits, error, message):
    with pytest.raises(error, match=f"^bit_entropy: {message}$"):
        evaluate.bit_entropy(codes, n_bits)
