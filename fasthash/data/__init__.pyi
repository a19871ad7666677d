from .base import ImageFiles
from .dataset import Dataset, load_dataset
from .idx import read_idx

__all__ = [
    "Dataset",
    "ImageFiles",
    "load_dataset",
    "read_idx",
]
