"""Compiled kernels for learning to hash, under a thin PyTorch layer."""

from fasthash import evaluate, hashers, index, layers, losses
from fasthash._core import __version__
from fasthash.index import FlatIndex, MultiIndex, load_index
from fasthash.ops.hamming import Hits, RadiusHits, hamming_distance, hamming_radius, hamming_topk
from fasthash.ops.householder import householder_apply, householder_product
from fasthash.ops.packing import pack_bits, pack_projections, unpack_bits
from fasthash.ops.wasserstein import hswd, sliced_wasserstein, wasserstein_1d

__all__ = [
    "FlatIndex",
    "Hits",
    "MultiIndex",
    "RadiusHits",
    "__version__",
    "evaluate",
    "hamming_distance",
    "hamming_radius",
    "hamming_topk",
    "hashers",
    "householder_apply",
    "householder_product",
    "hswd",
    "index",
    "layers",
    "load_index",
    "losses",
    "pack_bits",
    "pack_projections",
    "sliced_wasserstein",
    "unpack_bits",
    "wasserstein_1d",
]
