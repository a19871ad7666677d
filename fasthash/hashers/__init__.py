"""Estimators that turn embeddings into codes: scikit-learn's contract, NumPy or torch in and out."""

from fasthash.lazy import lazily

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
