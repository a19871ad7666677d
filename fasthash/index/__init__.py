from fasthash.index.base import load_index
from fasthash.index.flat import FlatIndex
from fasthash.index.multi import BoundedHits, MultiIndex, MultiIndexStats

__all__ = ["BoundedHits", "FlatIndex", "MultiIndex", "MultiIndexStats", "load_index"]
