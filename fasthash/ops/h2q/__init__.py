from fasthash.ops.h2q.op import KERNELS, LOSSES, MAX_BITS_ON_GPU, Trainer, trainer

__all__ = ["KERNELS", "LOSSES", "MAX_BITS_ON_GPU", "Trainer", "trainer"]
