"""Losses of learning to hash, as torch modules."""

from fasthash.lazy import lazily

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
