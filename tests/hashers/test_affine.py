from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from tests.hashers.conftest import SEEDED


@pytest.mark.parametrize("hasher", SEEDED)
def test_codes_far_from_the_origin(hasher, rng):
    """What is compared with the offset is as large as the mean, but only its rounding may show."""
    x = rng.standard_normal((2000, 32)).astype(np.float32) + 100
    estimator = hasher(32).fit(x)
    projections, bits = estimator.transform(x), fh.unpack_bits(estimator.encode(x), 32)
    certain = np.abs(projections) > 1e-3 * projections.std()
    np.testing.assert_array_equal(bits[certain], np.sign(projections)[certain])


@pytest.mark.parametrize("hasher", SEEDED)
def test_an_offset_is_that_of_the_mean(hasher, digits):
    estimator = hasher(16).fit(digits[0])
    np.testing.assert_allclose(estimator.mean_, digits[0].mean(0), atol=1e-5)
    assert estimator.offset_.dtype == torch.float64
    np.testing.assert_array_equal(estimator.offset_, estimator.mean_.double() @ estimator.projection_.double())
    expected = (digits[0] - estimator.mean_.numpy()) @ estimator.projection_.numpy()
    np.testing.assert_allclose(estimator.transform(digits[0]), expected, rtol=1e-4, atol=1e-4)
