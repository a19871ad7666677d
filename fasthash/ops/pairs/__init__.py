from fasthash.ops.pairs.found import HammingPairs
from fasthash.ops.pairs.groups import DuplicateGroups, duplicate_groups
from fasthash.ops.pairs.op import KERNELS, MAX_CODES, hamming_pairs, iter_hamming_pairs

__all__ = [
    "KERNELS",
    "MAX_CODES",
    "DuplicateGroups",
    "HammingPairs",
    "duplicate_groups",
    "hamming_pairs",
    "iter_hamming_pairs",
]
