"""Compiled kernels for learning to hash, under a thin PyTorch layer."""

from fasthash import evaluate, hashers
from fasthash._core import __version__
from fasthash.index import FlatIndex
from fasthash.ops.hamming import Hits, RadiusHits, hamming_distance, hamming_radius, hamming_topk
from fasthash.ops.packing import pack_bits, unpack_bits

__all__ = [
    "FlatIndex",
    "Hits",
    "RadiusHits",
    "__version__",
    "evaluate",
    "hamming_distance",
    "hamming_radius",
    "hamming_topk",
    "hashers",
    "pack_bits",
    "unpack_bits",
]
