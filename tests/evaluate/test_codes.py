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
    with pytest.raises(TypeError, match="quantization_angle: expected u of a floating-point dtype, got int64"):
        evaluate.quantization_angle(u.long())
    with pytest.raises(ValueError, match="expected u with at least one row"):
        evaluate.quantization_angle(u[:0])


def test_bit_entropy():
    signs = torch.tensor([[1, 1, -1, 1.0] + [1] * 6, [1, -1, -1, 1.0] + [1] * 6, [1, -1, -1, -1.0] + [1] * 6] * 5)
    codes = fh.pack_bits(signs)
    third = -(np.log2(1 / 3) / 3 + 2 * np.log2(2 / 3) / 3)
    expected = [0, third, 0, third] + [0] * 6
    np.testing.assert_allclose(evaluate.bit_entropy(codes, 10), expected, atol=1e-12)
    assert evaluate.bit_entropy(codes.numpy()).shape == (16,)
    with pytest.raises(ValueError, match="bit_entropy: expected n_bits from 1 to 16, got 17"):
        evaluate.bit_entropy(codes, 17)
    with pytest.raises(ValueError, match="bit_entropy: expected codes with at least one row, got none"):
        evaluate.bit_entropy(codes[:0])
