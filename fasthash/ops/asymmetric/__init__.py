from fasthash.ops.asymmetric.op import KERNELS, ScoredHits, asymmetric_topk

__all__ = ["KERNELS", "ScoredHits", "asymmetric_topk"]
