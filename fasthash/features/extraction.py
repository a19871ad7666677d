"""Features of a data set's images, part by part, in a file that is a data set itself."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from fasthash.data import Dataset, ImageFiles, load_dataset
from fasthash.data.loading import Loader
from fasthash.errors import check_choice, check_device_name, check_flag, check_integer, check_path, naming_memory
from fasthash.features.files import Parts, check_format, write
from fasthash.features.networks import Transform, build
from fasthash.plugins import qualified_name

DTYPES = ("float32", "float16")


@naming_memory("extract")
def extract(
    dataset: Dataset | str | Path,
    out: str | Path,
    network: str | nn.Module,
    *,
    layer: str | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
    root: str | Path | None = None,
    per_class: int | None = None,
    dtype: str = "float32",
    batch_size: int = 64,
    part_size: int = 4096,
    device: str = "auto",
    workers: int = 0,
    progress: bool = False,
) -> tuple[int, int]:
    """Write the features that a network makes of a data set's images to a file that `load_dataset` takes.

    Features are made and kept in parts, in a folder beside `out`, its name with ".parts". A call that is interrupted,
    by whatever, is repeated to go on after the parts that are finished; the file is there once all of it is, and the
    folder is removed.

    Args:
        dataset: of images, or what `load_dataset` takes.
        out: a file that is not there yet. .npz has the arrays "features" [n, d], "labels", "class_names" and, for each
            split, "<split>_positions"; .parquet the columns "features" and "labels", and one for each split.
        network: a name of torchvision's ("vgg16"); "module:attribute", a module or what makes one; or a module. Images
            are prepared as torchvision's weights want it; for other modules by their attribute `transform`, called with
            uint8 [3, h, w], or else brought to 224 x 224 and standardised as ImageNet's are.
        layer: name of a module in the network, whose output is made flat; "fc6" and "fc7" of AlexNet and the VGGs are
            their hidden layers, after the ReLU. None for what goes into the last linear layer of torchvision's
            networks, and for the output of others.
        weights: a file of a state, .safetensors or what `torch.save` wrote; one of torchvision's names, as
            "IMAGENET1K_V1", read from torch's cache, else downloaded; or "random". None for a network of yours as it
            is made.
        seed: of random weights, and of what `per_class` draws.
        root: where data sets are, else FASTHASH_DATA.
        per_class: how many items of each class, at random, where the data set is larger than what is wanted of it, as
            Places365; all of a class that has fewer.
        dtype: of the features in the file, "float32" or "float16".
        batch_size: images that go through the network at once.
        part_size: items of a part.
        device: "auto", "cpu", "cuda", ...
        workers: processes that read and prepare images.
        progress: whether to show a progress bar.

    Returns:
        How many items there are, and how many features each has.

    Raises:
        FileExistsError: if `out` is there.
        FileNotFoundError: if the data set or the weights are not found.
        MissingDependencyError: if torchvision, Pillow or pyarrow is needed and not installed.
        TypeError: if an argument is of another type.
        ValueError: if the data set has no images, network, layer and weights do not fit together, features are not
            finite, or there are parts of other settings.
    """
    check_path("extract", "out", out)
    path = Path(out)
    check_format(path)
    check_choice("extract", "dtype", dtype, DTYPES)
    seed = check_integer("extract", "seed", seed, 0)
    batch_size = check_integer("extract", "batch_size", batch_size, 1)
    part_size = check_integer("extract", "part_size", part_size, 1)
    workers = check_integer("extract", "workers", workers, 0)
    check_flag("extract", "progress", progress)
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = check_device_name("extract", "device", device)
    if path.exists():
        raise FileExistsError(f"extract: expected out to be a new file, got {path}, which is there; delete it to redo")
    loaded = _of_images(dataset if isinstance(dataset, Dataset) else load_dataset(dataset, root))
    if per_class is not None:
        loaded = _some_of_each_class(loaded, check_integer("extract", "per_class", per_class, 1), seed)
    model, transform = build(network, layer, weights, seed)
    settings = {
        "dataset": f"{len(loaded.items)} of {loaded.name}, {_checksum_of_items(loaded.items):08x}",
        "network": model.name,
        "layer": layer,
        "weights": _checksum_of_weights(model.network),
        "transform": repr(transform) if isinstance(transform, nn.Module) else qualified_name(transform),
        "dtype": dtype,
    }
    parts = Parts(path, settings, len(loaded.items), part_size)
    try:
        missing = list(parts.missing())
        model.to(chosen)
        bar = {"total": len(loaded.items), "initial": len(loaded.items) - sum(map(len, missing)), "unit": "image"}
        with tqdm(desc=model.name, disable=not progress, **bar) as told:
            for rows in missing:
                of_batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
                batches = Loader(Prepared(loaded.items, transform), of_batches, workers)
                parts.write(rows, _features(model, batches, chosen, dtype, rows.start, told))
    except BaseException:
        parts.leave()
        raise
    shape = write(path, loaded, parts)
    parts.remove()
    return shape


class Prepared:
    """A data set's images, read and prepared a batch at a time.

    Args:
        items: of the data set.
        transform: called with uint8 [3, h, w].
    """

    def __init__(self, items: NDArray[np.uint8] | ImageFiles, transform: Transform) -> None:
        self.items, self.transform = items, transform

    def __getitems__(self, indices: Iterable[int]) -> torch.Tensor:
        return stacked([self._prepared(i) for i in indices])

    def _prepared(self, i: int) -> torch.Tensor:
        image = torch.from_numpy(np.array(self.items[i]))
        return self.transform(image.permute(2, 0, 1) if image.ndim == 3 else image.expand(3, -1, -1))


def stacked(images: list[torch.Tensor]) -> torch.Tensor:
    """Return prepared images as a batch."""
    if any(not isinstance(image, torch.Tensor) or image.shape != images[0].shape for image in images):
        got = {str(list(x.shape)) if isinstance(x, torch.Tensor) else type(x).__name__ for x in images}
        raise ValueError(
            f"extract: expected transform to bring images to tensors of one shape, got {', '.join(sorted(got))}"
        )
    return torch.stack(images)


def _features(
    model: nn.Module, batches: Iterable[torch.Tensor], device: torch.device, dtype: str, start: int, told: tqdm[Any]
) -> NDArray[Any]:
    """Return the features of a part's batches, the first of which is of the item `start`."""
    made = []
    with torch.inference_mode():
        for images in batches:
            made.append(model(images.to(device)).to(getattr(torch, dtype)).cpu().numpy())
            told.update(len(images))
    features = np.concatenate(made)
    wrong = np.flatnonzero(~np.isfinite(features).all(1))
    if len(wrong):
        hint = "; float32 holds larger ones" if dtype == "float16" else ""
        raise ValueError(f"extract: expected finite features in {dtype}, got others of item {start + wrong[0]}{hint}")
    return features


def _of_images(dataset: Dataset) -> Dataset:
    """Return the data set if it has images."""
    items = dataset.items
    if isinstance(items, np.ndarray) and items.ndim == 2:
        raise ValueError(f"extract: expected images, but {dataset.name} has features of width {items.shape[1]}")
    if len(items) == 0:
        raise ValueError(f"extract: expected images, but {dataset.name} has none")
    return dataset


def _some_of_each_class(dataset: Dataset, n: int, seed: int) -> Dataset:
    """Return as many items of each class, drawn at random, in the order of the data set."""
    if dataset.labels.ndim != 1:
        raise ValueError(f"extract: expected one label an item to draw per_class, but {dataset.name} has several")
    order = np.random.default_rng(seed).permutation(len(dataset.labels))
    classes = dataset.labels[order]
    kept = np.sort(np.concatenate([order[classes == label][:n] for label in np.unique(classes)]))
    items, places = dataset.items, np.full(len(order), -1)
    places[kept] = np.arange(len(kept))
    moved = {name: places[positions] for name, positions in dataset.splits.items()}
    return replace(
        dataset,
        items=ImageFiles([items.paths[i] for i in kept]) if isinstance(items, ImageFiles) else items[kept],
        labels=dataset.labels[kept],
        splits={name: positions[positions >= 0] for name, positions in moved.items()},
    )


def _checksum_of_items(items: NDArray[np.uint8] | ImageFiles) -> int:
    """Of arrays their content, of files their paths and sizes."""
    if isinstance(items, np.ndarray):
        return zlib.crc32(np.ascontiguousarray(items).data, zlib.crc32(repr(items.shape).encode()))
    checksum = 0
    for path in items.paths:
        checksum = zlib.crc32(f"{path} {os.path.getsize(path)}\n".encode(errors="surrogateescape"), checksum)
    return checksum


def _checksum_of_weights(network: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
