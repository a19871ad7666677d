from __future__ import annotations

import torch

import fasthash as fh
from fasthash.ops import planes
from fasthash.ops.registry import default_level
from tests.index.conftest import random_codes


def test_repr_tells_size_and_kernel():
    index = fh.FlatIndex(32)
    index.add(random_codes(50))
    kernel = f"kernel 'cpu-{fh._core.active_isa()}'"
    assert repr(index) == f"FlatIndex(n_bits=32, layout='rows', device='cpu'): 50 codes, {kernel}"


def test_repr_of_planes_tells_their_kernel():
    kernel = default_level(planes.KERNELS, torch.device("cpu"))
    assert repr(fh.FlatIndex(8, layout="planes")).endswith(
        f"layout='planes', device='cpu'): 0 codes, kernel '{kernel}'"
    )
