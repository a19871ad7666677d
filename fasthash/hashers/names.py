"""What commands call the hashers, known without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fasthash.plugins import Registry

if TYPE_CHECKING:
    from fasthash.hashers.base import Hasher

HASHERS: Registry[type[Hasher]] = Registry(
    "fasthash.hashers",
    {
        "lsh": "fasthash.hashers.lsh:LSH",
        "spectral": "fasthash.hashers.spectral:SpectralHashing",
        "itq": "fasthash.hashers.itq:ITQ",
        "h2q": "fasthash.hashers.h2q:H2Q",
        "neighbor": "fasthash.hashers.neighbor:NeighborHashing",
    },
)
"""Classes of hashers by the names of `fasthash fit`."""
