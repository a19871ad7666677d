"""Readers of data sets for learning to hash."""

from fasthash.data.base import ImageFiles
from fasthash.data.dataset import Dataset, load_dataset
from fasthash.data.idx import read_idx

__all__ = ["Dataset", "ImageFiles", "load_dataset", "read_idx"]
