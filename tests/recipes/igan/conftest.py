"""Domains that IGAN is tested with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fasthash.data import Dataset, load_dataset


@pytest.fixture(scope="module")
def images():
    source = load_dataset("digits")
    items, labels = source.items[:450], source.labels[:450]
    noise = np.random.default_rng(0).integers(0, 40, items.shape)
    shifted = np.roll(np.minimum(items + noise, 255).astype(np.uint8), 1, axis=2)
    return [
        dataclasses.replace(source, name=name, items=x, labels=labels)
        for name, x in (("digits", items), ("shifted", shifted))
    ]


@pytest.fixture(scope="module")
def features():
    """Gaussian classes, which the target has turned about the origin and moved."""
    rng = np.random.default_rng(0)
    means = 1.5 * rng.standard_normal((5, 20))
    turn = np.linalg.qr(np.eye(20) + 0.3 * rng.standard_normal((20, 20)))[0]
    turn *= np.sign(np.diag(turn))
    domains = []
    for name, change in (("source", lambda x: x), ("target", lambda x: x @ turn + 3 * rng.standard_normal(20))):
        labels = np.repeat(np.arange(5), 150)
        items = change(means[labels] + rng.standard_normal((750, 20))).astype(np.float32)
        domains.append(Dataset(name, items, labels, {}, tuple("01234")))
    return domains
