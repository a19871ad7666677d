"""The networks of IGAN: one encoder for two domains, a classifier, and a generator and a discriminator a domain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.networks.decoder import decoder
from fasthash.recipes.networks.files import load_module, save_module

DOMAINS = ("source", "target")
_FORMAT = "fasthash igan 1"


class IGAN(nn.Module):
    """The shared encoder E, the classifier C on u = tanh(E(x)), two generators and two discriminators.

    Args:
        item_shape: of an item: [d] features, [h, w] gray or [h, w, 3] colour.
        n_bits: length of u.
        n_classes: N; a discriminator's last output, the N+1st, is for what is generated.
    """

    def __init__(self, item_shape: Sequence[int], n_bits: int, n_classes: int) -> None:
        super().__init__()
        self.settings = {"item_shape": list(item_shape), "n_bits": n_bits, "n_classes": n_classes}
        architecture, adversary = ("mlp", "mlp") if len(item_shape) == 1 else ("lenet", "strided")
        self.encoder = HashingNetwork(architecture, item_shape, n_bits)
        self.classifier = nn.Linear(n_bits, n_classes)
        self.generators = nn.ModuleDict({name: decoder(item_shape, n_bits) for name in DOMAINS})
        self.discriminators = nn.ModuleDict(
            {name: HashingNetwork(adversary, item_shape, n_classes + 1) for name in DOMAINS}
        )

    def hash(self, x: torch.Tensor) -> torch.Tensor:
        """Return u = tanh(E(x)) [n, n_bits] for what `encoder.prepare` made of items."""
        return self.encoder.outputs(x).tanh()

    def discriminate(self, domain: str, x: torch.Tensor) -> torch.Tensor:
        """Return the logits [n, n_classes + 1] of a domain's discriminator for prepared or generated items."""
        discriminator: HashingNetwork = self.discriminators[domain]  # type: ignore[assignment]
        return discriminator.outputs(x)

    def renew(self) -> None:
        """Draw generators and discriminators anew."""
        for part in (self.generators, self.discriminators):
            for layer in part.modules():
                if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                    layer.reset_parameters()

    def save(self, path: str | Path) -> None:
        """Write shapes and weights to a safetensors file."""
        save_module(self, path, _FORMAT, self.settings)

    @classmethod
    def load(cls, path: str | Path) -> IGAN:
        """Read what `save` wrote, in evaluation mode.

        Raises:
            ValueError: if it is not such a file.
        """
        return load_module(cls, path, _FORMAT)
