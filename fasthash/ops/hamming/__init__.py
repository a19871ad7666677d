from fasthash.ops.hamming.op import (
    KERNELS,
    NO_DISTANCE,
    Hits,
    RadiusHits,
    hamming_distance,
    hamming_radius,
    hamming_topk,
)

__all__ = ["KERNELS", "NO_DISTANCE", "Hits", "RadiusHits", "hamming_distance", "hamming_radius", "hamming_topk"]
