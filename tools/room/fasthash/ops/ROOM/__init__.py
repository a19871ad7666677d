from fasthash.ops.ROOM.op import KERNELS, ROOM

__all__ = ["KERNELS", "ROOM"]
