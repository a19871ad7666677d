from fasthash.ops.wasserstein.op import KERNELS, hswd

__all__ = ["KERNELS", "hswd"]
