"""Retrieval metrics on codes, and pictures of them (`fasthash.evaluate.plots`, which needs matplotlib)."""

from fasthash.lazy import lazily

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
