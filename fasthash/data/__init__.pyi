from .arrays import read_array
from .base import Dataset, ImageFiles
from .dataset import DATASETS, Layout, load_dataset
from .idx import read_idx

__all__ = [
    "DATASETS",
    "Dataset",
    "ImageFiles",
    "Layout",
    "load_dataset",
    "read_array",
    "read_idx",
]
