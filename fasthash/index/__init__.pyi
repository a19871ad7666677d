from .base import load_index
from .conversion import from_faiss, to_faiss
from .flat import FlatIndex
from .multi import BoundedHits, MultiIndex, MultiIndexStats

__all__ = [
    "BoundedHits",
    "FlatIndex",
    "MultiIndex",
    "MultiIndexStats",
    "from_faiss",
    "load_index",
    "to_faiss",
]
