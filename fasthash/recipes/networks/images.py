"""Images brought to a size and cropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

LARGE_IMAGE, LARGE_CROP = 256, 224  # what networks of ImageNet see
SMALL_MARGIN = 4  # pixels around a small image before a crop of its size


def square(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the middle square of an image [h, w, 3], brought to a size; needs Pillow."""
    from PIL import Image, ImageOps

    fitted: NDArray[Any] = np.asarray(ImageOps.fit(Image.fromarray(image), (size, size)))
    return fitted


def enlarged(x: torch.Tensor) -> torch.Tensor:
    """Return images [n, c, 256, 256] of images [n, c, h, w]."""
    if tuple(x.shape[-2:]) == (LARGE_IMAGE, LARGE_IMAGE):
        return x
    return functional.interpolate(x, size=(LARGE_IMAGE, LARGE_IMAGE), mode="bilinear", antialias=True)


def cropped(x: torch.Tensor, size: int | Sequence[int], at_random: bool) -> torch.Tensor:
    """Return a window of each image [n, c, h, w], in the middle or each at a random place."""
    height, width = (size, size) if isinstance(size, int) else size
    free = x.shape[2] - height, x.shape[3] - width
    if not at_random:
        return x[:, :, free[0] // 2 :, free[1] // 2 :][:, :, :height, :width]
    rows, columns = (
        torch.randint(0, most + 1, (len(x), 1), device=x.device) + torch.arange(length, device=x.device)
        for most, length in zip(free, (height, width), strict=True)
    )
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return x[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
