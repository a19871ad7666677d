from __future__ import annotations

import numpy as np
import pytest

import fasthash as fh
from fasthash.hashers import LSH


def test_lsh_hyperplanes(digits):
    x = digits[0]
    centred, through_origin = LSH(256).fit(x), LSH(256, center=False).fit(x)
    np.testing.assert_allclose(centred.transform(x).mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(through_origin.transform(x), x @ through_origin.projection_.numpy(), atol=1e-3)
    u, v = x[:1] - x.mean(0), x[1:2] - x.mean(0)
    angle = np.arccos((u @ v.T).item() / np.linalg.norm(u) / np.linalg.norm(v))
    wide = LSH(4096).fit(x)
    distance = fh.hamming_distance(wide.encode(x[:1]), wide.encode(x[1:2])).item()
    assert distance / 4096 == pytest.approx(angle / np.pi, abs=0.03)  # 3.8 standard deviations
