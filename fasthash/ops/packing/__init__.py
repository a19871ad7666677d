from fasthash.ops.packing.op import KERNELS, pack_bits, pack_projections, unpack_bits

__all__ = ["KERNELS", "pack_bits", "pack_projections", "unpack_bits"]
