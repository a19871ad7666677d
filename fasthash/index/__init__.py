from fasthash.index.base import load_index
from fasthash.index.conversion import from_faiss, to_faiss
from fasthash.index.flat import FlatIndex
from fasthash.index.multi import BoundedHits, MultiIndex, MultiIndexStats

__all__ = ["BoundedHits", "FlatIndex", "MultiIndex", "MultiIndexStats", "from_faiss", "load_index", "to_faiss"]
