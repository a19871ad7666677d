"""What torch.jit.trace records of the ops: the registered ones, never a kernel's memory."""

from __future__ import annotations

import pytest
import torch

import fasthash as fh

pytestmark = [
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),  # of the checks, which look at shapes
    pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning"),
]

FUNCTIONS = {
    "pack_bits": fh.pack_bits,
    "unpack_bits": lambda x: fh.unpack_bits(fh.pack_bits(x), 16),
    "pack_projections": lambda x: fh.pack_projections(x, x.T @ x),
    "hamming_distance": lambda x: fh.hamming_distance(fh.pack_bits(x), fh.pack_bits(x.flip(0))),
    "hamming_topk": lambda x: tuple(fh.hamming_topk(fh.pack_bits(x), fh.pack_bits(x.flip(0)), 3)),
    "householder_product": lambda x: fh.householder_product(x[:5]),
    "householder_apply": lambda x: fh.householder_apply(x, x[:5]),
    "wasserstein_1d": lambda x: fh.wasserstein_1d(x, x.flip(0) * 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_trace_is_the_function_of_other_values_and_sizes(name):
    function = FUNCTIONS[name]
    traced = torch.jit.trace(function, torch.randn(6, 16))
    for n in (6, 9):
        x = torch.randn(n, 16)
        torch.testing.assert_close(traced(x), function(x))


@pytest.mark.parametrize("function", [fh.hswd, fh.losses.HSWD()])
def test_a_trace_that_would_keep_the_number_of_rows_is_refused(function):
    with pytest.raises(RuntimeError, match="(hswd|HSWD): expected no torch.jit.trace"):
        torch.jit.trace(lambda x: function(x), torch.randn(5, 8))
