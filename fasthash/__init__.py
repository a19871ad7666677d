"""Compiled kernels for learning to hash, under a thin PyTorch layer."""

from fasthash.lazy import lazily

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
