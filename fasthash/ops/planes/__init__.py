from fasthash.ops.planes.op import (
    BLOCK_CODES,
    KERNELS,
    asymmetric_planes_topk,
    new_planes,
    planes_radius,
    planes_topk,
    read_planes,
    write_planes,
)

__all__ = [
    "BLOCK_CODES",
    "KERNELS",
    "asymmetric_planes_topk",
    "new_planes",
    "planes_radius",
    "planes_topk",
    "read_planes",
    "write_planes",
]
