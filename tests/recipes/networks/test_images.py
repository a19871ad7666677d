from __future__ import annotations

import numpy as np
import pytest
import torch

from fasthash.recipes.networks.images import LARGE_IMAGE, cropped, enlarged, square


def test_a_window_in_the_middle_and_windows_at_random():
    image = torch.arange(7 * 9).reshape(1, 1, 7, 9)
    assert torch.equal(cropped(image, (3, 5), at_random=False), image[:, :, 2:5, 2:7])
    torch.manual_seed(0)
    windows = cropped(image.expand(200, 2, -1, -1), 3, at_random=True)
    assert windows.shape == (200, 2, 3, 3)
    first = windows[:, 0, 0, 0]
    assert {(int(x) // 9, int(x) % 9) for x in first} <= {(row, column) for row in range(5) for column in range(7)}
    assert len(first.unique()) > 30
    offsets = torch.tensor([[0, 1, 2], [9, 10, 11], [18, 19, 20]])
    assert torch.equal(windows, (first[:, None, None, None] + offsets).expand(-1, 2, -1, -1))


def test_images_of_another_size_are_brought_to_imagenets():
    x = torch.rand(2, 3, LARGE_IMAGE, LARGE_IMAGE)
    assert enlarged(x) is x
    flat = torch.full((1, 3, 20, 31), 0.25)
    assert torch.allclose(enlarged(flat), torch.full((1, 3, LARGE_IMAGE, LARGE_IMAGE), 0.25))


def test_a_square_is_the_middle_of_an_image():
    pytest.importorskip("PIL.Image")
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = (9, 80, 200)
    assert np.array_equal(square(image, 10), image[:, 10:20])
    assert square(image, 4).shape == (4, 4, 3)
