from fasthash.ops.wasserstein.op import KERNELS, hswd, sliced_wasserstein, wasserstein_1d

__all__ = ["KERNELS", "hswd", "sliced_wasserstein", "wasserstein_1d"]
