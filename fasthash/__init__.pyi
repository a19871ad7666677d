from . import _core as _core
from . import data, evaluate, features, hashers, index, layers, losses, recipes
from ._core import __version__
from .hashes import from_hashes, to_hashes
from .index import FlatIndex, MultiIndex, load_index
from .ops.asymmetric import ScoredHits, asymmetric_topk
from .ops.hamming import Hits, RadiusHits, hamming_distance, hamming_radius, hamming_topk, merge_hits
from .ops.householder import householder_apply, householder_product
from .ops.packing import pack_bits, pack_projections, unpack_bits
from .ops.pairs import DuplicateGroups, HammingPairs, duplicate_groups, hamming_pairs, iter_hamming_pairs
from .ops.wasserstein import hswd, sliced_wasserstein, wasserstein_1d

__all__ = [
    "DuplicateGroups",
    "FlatIndex",
    "HammingPairs",
    "Hits",
    "MultiIndex",
    "RadiusHits",
    "ScoredHits",
    "__version__",
    "asymmetric_topk",
    "data",
    "duplicate_groups",
    "evaluate",
    "features",
    "from_hashes",
    "hamming_distance",
    "hamming_pairs",
    "hamming_radius",
    "hamming_topk",
    "hashers",
    "householder_apply",
    "householder_product",
    "hswd",
    "index",
    "iter_hamming_pairs",
    "layers",
    "load_index",
    "losses",
    "merge_hits",
    "pack_bits",
    "pack_projections",
    "recipes",
    "sliced_wasserstein",
    "to_hashes",
    "unpack_bits",
    "wasserstein_1d",
]
