from fasthash.ops.h2q.op import KERNELS, LOSSES, MAX_BITS_ON_GPU, Trainer, trainer
from fasthash.ops.h2q.plan import Plan

__all__ = ["KERNELS", "LOSSES", "MAX_BITS_ON_GPU", "Plan", "Trainer", "trainer"]
