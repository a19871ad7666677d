from fasthash.ops.hamming.hits import NO_DISTANCE, Hits, RadiusHits, merge_hits
from fasthash.ops.hamming.op import KERNELS, hamming_distance, hamming_radius, hamming_topk

__all__ = [
    "KERNELS",
    "NO_DISTANCE",
    "Hits",
    "RadiusHits",
    "hamming_distance",
    "hamming_radius",
    "hamming_topk",
    "merge_hits",
]
