"""From codes back to items."""

from __future__ import annotations

import pytest
import torch

from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.networks.decoder import decoder


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 15, 16, 28, 32])
def test_generators_mirror_the_encoders_sizes(size):
    for shape in ((size, size), (size, size + 3, 3)):
        generated = decoder(shape, 12)(torch.zeros(2, 12))
        assert generated.shape == (2, 3 if len(shape) == 3 else 1, *shape[:2])
        assert generated.abs().max() <= 1
        for architecture in ("lenet", "strided"):
            assert HashingNetwork(architecture, shape, 11).outputs(generated).shape == (2, 11)
    assert decoder((size,), 12)(torch.zeros(2, 12)).shape == (2, size)
