from .ann_benchmarks import AnnBenchmark, read_ann_benchmark, write_ann_benchmark
from .arrays import read_array
from .base import Dataset, ImageFiles
from .dataset import DATASETS, Layout, load_dataset
from .ground_truth import read_ground_truth, read_range_ground_truth, write_ground_truth
from .idx import read_idx
from .writing import write_array

__all__ = [
    "DATASETS",
    "AnnBenchmark",
    "Dataset",
    "ImageFiles",
    "Layout",
    "load_dataset",
    "read_ann_benchmark",
    "read_array",
    "read_ground_truth",
    "read_idx",
    "read_range_ground_truth",
    "write_ann_benchmark",
    "write_array",
    "write_ground_truth",
]
