from fasthash.ops.ranking.op import KERNELS, counts_op

__all__ = ["KERNELS", "counts_op"]
