from __future__ import annotations

import fasthash as fh
from tests.index.conftest import random_codes


def test_repr_tells_size_and_kernel():
    index = fh.FlatIndex(32)
    index.add(random_codes(50))
    kernel = f"kernel 'cpu-{fh._core.active_isa()}'"
    assert repr(index) == f"FlatIndex(n_bits=32, layout='rows', device='cpu'): 50 codes, {kernel}"
