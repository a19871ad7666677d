"""Estimators that turn embeddings into codes: scikit-learn's contract, NumPy or torch in and out."""

from fasthash.hashers.base import Hasher
from fasthash.hashers.itq import ITQ
from fasthash.hashers.lsh import LSH

__all__ = ["ITQ", "LSH", "Hasher"]
