"""Estimators that turn embeddings into codes: scikit-learn's contract, NumPy or torch in and out."""

from fasthash.hashers.affine import AffineHasher
from fasthash.hashers.base import Hasher
from fasthash.hashers.h2q import H2Q
from fasthash.hashers.itq import ITQ
from fasthash.hashers.lsh import LSH
from fasthash.hashers.spectral import SpectralHashing

__all__ = ["H2Q", "ITQ", "LSH", "AffineHasher", "Hasher", "SpectralHashing"]
