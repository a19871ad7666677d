from __future__ import annotations

import fasthash as fh
from tests.index.conftest import random_codes


def test_repr_tells_size_and_kernel():
    index = fh.FlatIndex(32)
    index.add(random_codes(50))
    assert repr(index) == f"FlatIndex(n_bits=32, device='cpu'): 50 codes, kernel 'cpu-{fh._core.active_isa()}'"
