"""The way back from codes to items."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from fasthash.recipes.networks.backbones import STRIDED_WIDTHS, halvings, leaky_layers


def decoder(item_shape: Sequence[int], n_bits: int) -> nn.Sequential:
    """Return the layers from codes [n, n_bits] back to what `HashingNetwork.prepare` makes of items.

    Features have a hidden layer of 512, and a linear one after it; images the four transposed convolutions that mirror
    the network "strided". Nothing bounds what the last layer gives: a tanh passes no gradient to an item that is black.
    """
    if len(item_shape) == 1:
        return nn.Sequential(*leaky_layers(n_bits, 512), nn.Linear(512, item_shape[0]))
    height, width = (halvings(size)[::-1] for size in item_shape[:2])
    layers: list[nn.Module] = [*leaky_layers(n_bits, STRIDED_WIDTHS[-1] * height[0] * width[0])]
    layers.append(nn.Unflatten(1, (STRIDED_WIDTHS[-1], height[0], width[0])))
    widths = (*STRIDED_WIDTHS[::-1], 3 if len(item_shape) == 3 else 1)
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        padding = height[i + 1] - 2 * height[i] + 1, width[i + 1] - 2 * width[i] + 1
        layers += [nn.ConvTranspose2d(before, after, 3, 2, 1, output_padding=padding), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])
