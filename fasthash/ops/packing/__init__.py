from fasthash.ops.packing.op import KERNELS, pack_bits, unpack_bits

__all__ = ["KERNELS", "pack_bits", "unpack_bits"]
