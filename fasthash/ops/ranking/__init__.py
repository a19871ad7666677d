from fasthash.ops.ranking.op import KERNELS, average_op, counts_op, places_op, weight_op

__all__ = ["KERNELS", "average_op", "counts_op", "places_op", "weight_op"]
