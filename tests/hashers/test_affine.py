from __future__ import annotations

import numpy as np
import pytest

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
