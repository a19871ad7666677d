"""Supervised deep hashing: a network trained by any of the losses, its codes rotated or not."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fasthash.data import ImageFiles
from fasthash.errors import check_choice
from fasthash.evaluate import mean_average_precision
from fasthash.hashers import H2Q, ITQ, AffineHasher
from fasthash.losses import HSWD, LOSSES, HashingLoss
from fasthash.ops.packing import pack_bits
from fasthash.recipes.evaluation import check_outputs
from fasthash.recipes.loop import Given, Training
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.networks.images import LARGE_IMAGE
from fasthash.recipes.ranks import seed_epoch
from fasthash.recipes.run_folder import Row
from fasthash.recipes.settings import BACKBONES, ROTATIONS, SupervisedSettings


class SupervisedTraining(Training[SupervisedSettings]):
    """Train a network to hash from labels: a batch, the loss, a step.

    Every `validate_every` epochs a fifth of the validation items is searched for among the others, and the epoch of the
    best mean average precision is kept. Under `torchrun` every process takes a part of each batch and of each of its
    gradients.

    `Run.results` has "epoch", the one kept, and "validation_mAP" too; `Run.modules` the "loss", after the last epoch.
    """

    takes_network = takes_loss = takes_ranks = True

    def __init__(self, settings: SupervisedSettings, given: Given) -> None:
        check_not_both(settings, given)
        super().__init__(settings, given, image_size=image_size(settings, given))
        shuffled = np.random.default_rng(settings.split_seed).permutation(self.parts.validation)
        asked, searched = np.split(shuffled, [-(-len(shuffled) // 5)])
        self.validation_query, self.validation_database = self.loaded(asked, searched)
        seed_epoch(settings.seed, 0)
        network, loss = given.network or self._network(), self._loss()
        self.title = f"{settings.method if given.loss is None else _name(given.loss)}, {settings.bits} bits"
        self.learner = Learner(network, loss, settings.bits, settings.precision).to(self.device)
        self.network, self.loss = self.learner.network, self.learner.loss
        self.modules["loss"] = self.loss
        self.parallel: nn.Module = self.learner
        if given.n_ranks > 1:
            self.parallel = DistributedDataParallel(self.learner)
            quantizer = getattr(self.loss, "quantizer", None)
            if isinstance(quantizer, HSWD):
                quantizer.group = dist.group.WORLD
        self.optimizer = build_optimizer(settings, self.network, self.loss)
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.best = BestEpoch()
        self.state = {"learner": self.learner, "optimizer": self.optimizer, "best": self.best}

    def _network(self) -> HashingNetwork:
        settings, items = self.settings, self.dataset.items
        of_files = isinstance(items, ImageFiles)
        shape = (LARGE_IMAGE, LARGE_IMAGE, 3) if isinstance(items, ImageFiles) else items.shape[1:]
        augmentation = settings.augmentation if len(shape) > 1 else "none"
        network = HashingNetwork(
            settings.network, shape, settings.bits, augmentation=augmentation, pretrained=settings.pretrained
        )
        if not settings.pretrained and not of_files:
            network.standardize(*_moments(items[self.parts.train], len(network.mean)))
        return network

    def _loss(self) -> nn.Module:
        settings, given = self.settings, self.given.loss
        if given is not None:
            loss = given if isinstance(given, nn.Module) else FunctionLoss(given)
        else:
            loss = build_loss(
                settings.method,
                settings.bits,
                self.dataset.n_classes,
                self.train.labels,
                quantization=settings.quantization,
                quantization_weight=settings.quantization_weight,
                **settings.loss_arguments,
            )
        if getattr(loss, "needs_indices", False) and self.given.n_ranks > 1:
            raise ValueError(
                f"train: expected one process for {_name(loss)}, which keeps a code for each training item, got "
                f"{self.given.n_ranks}"
            )
        return loss

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rates."""
        settings = self.settings
        share = (epoch - 1) / settings.epochs if settings.schedule == "cosine" else 0.0
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * share))
        self.parallel.train()

    def step(
        self, number: int, items: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Make a step on the loss of a batch."""
        loss = self.parallel(items, labels, indices)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}

    def end_epoch(self) -> None:
        """Let the loss renew its codes, if it has any."""
        if isinstance(self.loss, HashingLoss):
            self.loss.end_epoch()

    def validate(self, epoch: int) -> Row:
        """Search for a part of the validation items among the others, and keep the weights if that went best."""
        if epoch % self.settings.validate_every != 0 and epoch != self.settings.epochs:
            return {}
        if len(self.validation_database) == 0:
            self.best.keep(epoch, float(epoch), self.network)
            return {}
        query, database = (self.outputs(x) for x in (self.validation_query, self.validation_database))
        value = mean_average_precision(
            pack_bits(query), self.validation_query.labels, pack_bits(database), self.validation_database.labels
        )
        self.best.keep(epoch, value, self.network)
        return {"validation_mAP": value}

    def keep_best(self) -> None:
        """Restore the best epoch's weights, and fit the rotation to its outputs."""
        self.network.load_state_dict(self.best.network)
        self.rotation = fit_rotation(self.settings.rotation, self.outputs(self.train), self.settings.seed)

    def evaluate(self) -> dict[str, float]:
        """Return what the queries retrieve, and which epoch was kept."""
        results = super().evaluate() | {"epoch": self.best.epoch}
        if len(self.validation_database):
            results["validation_mAP"] = self.best.value
        return results


class BestEpoch:
    """The weights of the epoch that did best.

    Attributes:
        epoch: which it was.
        value: how it did.
        network: the state of the network after it.
    """

    def __init__(self) -> None:
        self.epoch, self.value = 0, -math.inf
        self.network: dict[str, torch.Tensor] = {}

    def keep(self, epoch: int, value: float, network: nn.Module) -> None:
        """Take an epoch for the best one if it did better."""
        if value > self.value:
            self.epoch, self.value = epoch, value
            self.network = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        return {"epoch": self.epoch, "value": self.value, "network": self.network}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.epoch, self.value, self.network = state["epoch"], state["value"], state["network"]


class FunctionLoss(nn.Module):
    """A loss that is a function of outputs and labels."""

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch."""
        return self.function(u, labels)


class Learner(nn.Module):
    """The network and its loss as one module, which is what ranks keep equal.

    Args:
        network: from items to outputs u [n, n_bits].
        loss: of u and labels; a `HashingLoss` also gets the items' indices.
        n_bits: length of the codes.
        precision: of the network's arithmetic, "float32" or "bfloat16".
    """

    def __init__(self, network: nn.Module, loss: nn.Module, n_bits: int, precision: str) -> None:
        super().__init__()
        self.network, self.loss, self.n_bits, self.precision = network, loss, n_bits, precision

    def forward(self, items: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch."""
        with torch.autocast(items.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            u = self.network(items)
        check_outputs("train", u, len(items), self.n_bits)
        context = (indices,) if isinstance(self.loss, HashingLoss) else ()
        loss: torch.Tensor = self.loss(u.float(), labels, *context)
        if not isinstance(loss, torch.Tensor):
            raise TypeError(f"train: expected loss to return a scalar tensor, got {type(loss).__name__}")
        if loss.ndim != 0:
            raise ValueError(f"train: expected loss to return a scalar, got {list(loss.shape)}")
        if torch.is_grad_enabled() and not loss.requires_grad:
            raise ValueError("train: expected loss to have a gradient in what is trained, got one that has none")
        return loss


def check_not_both(settings: SupervisedSettings, given: Given) -> None:
    """Raise if settings say something of a network or a loss that others were given in place of."""
    defaults = {field.name: field.default for field in dataclasses.fields(settings)} | {"loss_arguments": {}}
    of_network = ("network", "pretrained", "augmentation")
    of_loss = ("method", "quantization", "quantization_weight", "loss_arguments")
    for name, value, fields in (("network", given.network, of_network), ("loss", given.loss, of_loss)):
        changed = [field for field in fields if getattr(settings, field) != defaults[field]]
        if value is not None and changed:
            raise ValueError(f"train: expected {name} or the settings {', '.join(changed)}, got both")


def image_size(settings: SupervisedSettings, given: Given) -> int | None:
    """Return what image files are brought to for the network that is trained."""
    own = given.network is None
    if own:
        size = LARGE_IMAGE if BACKBONES[settings.network].imagenet else None
    else:
        size = getattr(given.network, "image_size", None)
    if size is None and isinstance(given.data[0][0].items, ImageFiles):
        imagenet = ", ".join(name for name, backbone in BACKBONES.items() if backbone.imagenet)
        wanted = f"a network of ImageNet ({imagenet})" if own else "a network with an attribute image_size"
        raise ValueError(
            f"train: expected {wanted} for image files, got {settings.network if own else type(given.network).__name__}"
        )
    return size


def build_loss(method: str, n_bits: int, n_classes: int, labels: torch.Tensor, **arguments: Any) -> nn.Module:
    """Return the loss of a method, given what its constructor asks for.

    Args:
        method: a key of `fasthash.losses.LOSSES`.
        n_bits: length of the codes.
        n_classes: how many labels there are.
        labels: of the training items, [n] or [n, n_classes].
        arguments: further ones of the constructor; "quantization" and "quantization_weight" only where they are not the
            defaults of `HashingLoss`, if it has none.

    Raises:
        ValueError: if the constructor has no such argument, or refuses a value.
    """
    loss = LOSSES[check_choice("build_loss", "method", method, LOSSES)]
    taken = inspect.signature(loss).parameters
    for name, default in (("quantization", "original"), ("quantization_weight", None)):
        if name not in taken and arguments.get(name, default) == default:
            arguments.pop(name, None)
    unknown = sorted(arguments.keys() - taken.keys())
    if unknown:
        raise ValueError(f"build_loss: expected arguments of {method} ({', '.join(taken)}), got {', '.join(unknown)}")
    given: dict[str, Any] = {"n_bits": n_bits, "n_classes": n_classes, "labels": labels}
    built = loss(**{name: value for name, value in given.items() if name in taken}, **arguments)
    return built if isinstance(built, nn.Module) else FunctionLoss(built)


def build_optimizer(settings: SupervisedSettings, network: nn.Module, loss: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of a network and its loss; a network that is no `HashingNetwork` is all backbone."""
    if isinstance(network, HashingNetwork):
        backbone, head = list(network.backbone.parameters()), list(network.head.parameters())
    else:
        backbone, head = list(network.parameters()), []
    groups = [
        {"params": backbone, "lr": settings.learning_rate * settings.backbone_rate},
        {"params": [*head, *loss.parameters()], "lr": settings.learning_rate},
    ]
    groups = [group for group in groups if group["params"]]
    if not groups:
        raise ValueError("train: expected parameters to train, got a network and a loss that have none")
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, weight_decay=settings.weight_decay)
    return torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay)


def fit_rotation(name: str, u: torch.Tensor, seed: int = 0) -> AffineHasher | None:
    """Return the rotation of that name fitted to outputs u [n, n_bits]; None for "none"."""
    check_choice("fit_rotation", "name", name, ROTATIONS)
    if name == "none":
        return None
    n_bits = u.shape[1]
    rotation = ITQ(n_bits) if name == "itq" else H2Q(n_bits, center=False)
    rotation.set_params(random_state=seed).fit(u)
    return rotation


def _name(loss: Any) -> str:
    return getattr(loss, "__name__", type(loss).__name__)


def _moments(items: NDArray[Any], n_values: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation of each feature, or of each colour of images scaled to [0, 1]."""
    if items.ndim == 2:
        x = torch.from_numpy(items).double()
        return x.mean(dim=0), x.std(dim=0, correction=0)
    x = torch.from_numpy(items).reshape(len(items), -1, n_values if items.ndim == 4 else 1).double() / 255
    return x.mean(dim=(0, 1)), x.std(dim=(0, 1), correction=0)
