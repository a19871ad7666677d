from fasthash.index.flat import FlatIndex

__all__ = ["FlatIndex"]
