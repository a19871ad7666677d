"""Stateless functions of tensors, one room an op; see the README in each.

Importing this package registers all of them with torch, which an exported program needs before it is loaded.
"""

from fasthash.ops import hamming, householder, packing, wasserstein

__all__ = ["hamming", "householder", "packing", "wasserstein"]
