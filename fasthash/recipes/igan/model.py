"""The networks of IGAN: one encoder for two domains, a classifier, and a generator and a discriminator a domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.networks.decoder import decoder
from fasthash.recipes.networks.files import load_module, save_module

DOMAINS = ("source", "target")
_FORMAT = "fasthash igan 2"


class IGAN(nn.Module):
    """The shared encoder E, the classifier C on u = tanh(E(x)), two generators and two discriminators.

    Args:
        item_shape: of an item: [d] features, [h, w] gray or [h, w, 3] colour.
        n_bits: length of u.
        n_classes: N; a discriminator's last output, the N+1st, is for what is generated.
        network: the encoder of images, a key of `fasthash.recipes.BACKBONES`.
    """

    def __init__(self, item_shape: Sequence[int], n_bits: int, n_classes: int, network: str = "lenet") -> None:
        super().__init__()
        self.settings = {
            "item_shape": list(item_shape),
            "n_bits": n_bits,
            "n_classes": n_classes,
            "network": network,
        }
        architecture, adversary = ("mlp", "mlp") if len(item_shape) == 1 else (network, "strided")
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

    def renew(self, means: Mapping[str, torch.Tensor]) -> None:
        """Draw generators and discriminators anew.

        Generators begin at what is constant in their domain: from 0 the mean absolute error takes one to the median
        item, which for digits is black.

        Args:
            means: of each domain's prepared items, [c] of images' colours, [d] of features.
        """
        for part in (self.generators, self.discriminators):
            for layer in part.modules():
                if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                    layer.reset_parameters()
        for domain, generator in self.generators.items():
            *_, last = (layer for layer in generator.modules() if isinstance(layer, (nn.Linear, nn.ConvTranspose2d)))
            assert last.bias is not None
            with torch.no_grad():
                last.bias.copy_(means[domain])

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
