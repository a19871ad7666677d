from fasthash.ops.householder.op import KERNELS, householder_apply, householder_product

__all__ = ["KERNELS", "householder_apply", "householder_product"]
