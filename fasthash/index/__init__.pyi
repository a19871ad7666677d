from .conversion import from_faiss, to_faiss
from .flat import FlatIndex
from .loading import from_bytes, load_index
from .multi import BoundedHits, MultiIndex, MultiIndexStats

__all__ = [
    "BoundedHits",
    "FlatIndex",
    "MultiIndex",
    "MultiIndexStats",
    "from_bytes",
    "from_faiss",
    "load_index",
    "to_faiss",
]
