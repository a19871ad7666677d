from .affine import AffineHasher
from .base import Hasher
from .h2q import H2Q
from .itq import ITQ
from .lsh import LSH
from .names import HASHERS
from .neighbor import NeighborHashing
from .spectral import SpectralHashing

__all__ = [
    "H2Q",
    "HASHERS",
    "ITQ",
    "LSH",
    "AffineHasher",
    "Hasher",
    "NeighborHashing",
    "SpectralHashing",
]
