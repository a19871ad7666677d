"""Supervised deep hashing: a network trained by any of the losses, its codes rotated or not."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fasthash.data import ImageFiles
from fasthash.errors import check_choice
from fasthash.evaluate import mean_average_precision
from fasthash.hashers import H2Q, ITQ, AffineHasher
from fasthash.losses import HSWD, LOSSES, HashingLoss, SlicedWasserstein
from fasthash.ops.packing import pack_bits
from fasthash.recipes.batches import Loaded
from fasthash.recipes.evaluation import check_outputs, evaluate_codes, tie_rule
from fasthash.recipes.loop import Given, Training
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.networks.images import LARGE_IMAGE
from fasthash.recipes.protocols import PROTOCOLS
from fasthash.recipes.ranks import seed_epoch
from fasthash.recipes.run_folder import Row
from fasthash.recipes.settings import BACKBONES, ROTATIONS, SET_OTHERWISE, SupervisedSettings


class SupervisedTraining(Training[SupervisedSettings]):
    """Train a network to hash from labels: a batch, the loss, a step.

    The last layer of ImageNet's networks starts from weights of deviation 0.01 and biases of 0, as in H2Q's paper; that
    of smaller ones, whose features are smaller too, as torch has it.

    Every `validate_every` epochs a share of the validation items is searched for among the others, in as many random
    splits as `validation_splits`, and the epoch of the best mean average precision is kept.

    The log has the means over the steps of the "loss" and of its terms, "similarity" and "quantization" (before its
    weight), and of the validation items "validation_mAP" and the distances of their outputs to bits, "hswd" and "swd".
    `Run.results` has "epoch", the one kept, and "validation_mAP" too; `Run.modules` the "loss", after the last epoch.
    """

    takes_network = takes_loss = takes_ranks = True

    def __init__(self, settings: SupervisedSettings, given: Given) -> None:
        check_not_both(settings, given)
        super().__init__(settings, given, image_size=image_size(settings, given))
        (self.validation,) = self.loaded(self.parts.validation)
        if settings.patience > 0 and len(self.validation) < 2:
            raise ValueError(
                f"train: expected validation items to have patience with, got {len(self.validation)} of "
                f"{self.dataset.name} by {settings.protocol}"
            )
        self.validation_splits = validation_splits(len(self.validation), settings)
        seed_epoch(settings.seed, 0)
        network, loss = given.network or self._network(), self._loss()
        self.title = f"{settings.method if given.loss is None else _name(given.loss)}, {settings.bits} bits"
        self.learner = Learner(network, loss, settings).to(self.device)
        self.network, self.loss = self.learner.network, self.learner.loss
        for name, value in self.network.state_dict().items():
            if not isinstance(value, torch.Tensor):
                raise TypeError(
                    f"train: expected network to have a state of tensors, got {name} of {type(value).__name__}"
                )
        self.modules["loss"] = self.loss
        self.optimizer = build_optimizer(settings, self.network, self.loss)
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.best = BestEpoch()
        self.state = {"learner": self.learner, "optimizer": self.optimizer, "best": self.best}

    def _network(self) -> HashingNetwork:
        settings, items = self.settings, self.dataset.items
        of_files = isinstance(items, ImageFiles)
        shape = (LARGE_IMAGE, LARGE_IMAGE, 3) if isinstance(items, ImageFiles) else items.shape[1:]
        if len(shape) == 1 and settings.augmentation != "none":
            raise ValueError(
                f"train: expected augmentation 'none' for features, which are not images, got {settings.augmentation!r}"
            )
        network = HashingNetwork(
            settings.network, shape, settings.bits, augmentation=settings.augmentation, pretrained=settings.pretrained
        )
        if network.imagenet:
            nn.init.normal_(network.head.weight, std=0.01)
            nn.init.zeros_(network.head.bias)
        if not settings.pretrained and not of_files:
            network.standardize(*_moments(items[self.parts.train], len(network.mean)))
        return network

    def _loss(self) -> nn.Module:
        settings, given = self.settings, self.given.loss
        if given is not None:
            loss = given if isinstance(given, nn.Module) else FunctionLoss(given)
        else:
            try:
                loss = build_loss(
                    settings.method,
                    settings.bits,
                    self.dataset.n_classes,
                    self.train.labels,
                    quantization=settings.quantization,
                    quantization_weight=settings.quantization_weight,
                    **settings.loss_arguments,
                )
            except (TypeError, ValueError) as error:
                refused = [name for name in settings.loss_arguments if f"expected {name} " in str(error)]
                if not refused:
                    raise
                raise type(error)(
                    f"train: expected loss_arguments that {settings.method} takes, got {refused[0]}="
                    f"{settings.loss_arguments[refused[0]]!r} ({error})"
                ) from error
        return loss

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rates."""
        settings = self.settings
        share = (epoch - 1) / settings.epochs if settings.schedule == "cosine" else 0.0
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * share))
        self.learner.train()

    def step(
        self, number: int, items: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Make a step on the loss of a batch."""
        ranks = self.given.ranks
        with ranks.own_randomness(self.device, self.settings.seed, number):
            u = self.learner.outputs(items)
        terms: dict[str, torch.Tensor] = self.learner(*map(ranks.gathered, (u, labels, indices)))
        self.learn(terms["loss"], self.optimizer)
        return terms

    def end_epoch(self) -> None:
        """Let the loss renew its codes, if it has any."""
        if isinstance(self.loss, HashingLoss):
            self.loss.end_epoch()

    def is_validated(self, epoch: int) -> bool:
        """Return whether a validation follows an epoch."""
        return epoch % self.settings.validate_every == 0 or epoch == self.settings.epochs

    @torch.no_grad()
    def validate(self, epoch: int) -> Row:
        """Search for a part of the validation items among the others, and keep the weights if that went best."""
        settings = self.settings
        if not self.is_validated(epoch):
            return {}
        if len(self.validation) < 2:
            self.best.keep(epoch, float(epoch), self.network)
            return {}
        u, labels, values = self.outputs(self.validation), self.validation.labels, []
        for asked, searched in self.validation_splits:
            query, database = u[asked], u[searched]
            retrieval = (pack_bits(query), labels[asked], pack_bits(database), labels[searched])
            at = None if self.map_at is None else min(self.map_at, len(database))
            values.append(mean_average_precision(*retrieval, at=at, **tie_rule(settings.ties, query, database)))
        value = self.given.ranks.from_first(float(np.mean(values)))
        self.best.keep(epoch, value, self.network)
        directions = torch.Generator().manual_seed(settings.seed)
        distances = {"hswd": HSWD()(u), "swd": SlicedWasserstein()(u, generator=directions)}
        return {"validation_mAP": value, **{name: float(distance) for name, distance in distances.items()}}

    def is_done(self, epoch: int) -> bool:
        """Return whether a validation went no better and the patience has run out."""
        return 0 < self.settings.patience <= epoch - self.best.epoch and self.is_validated(epoch)

    def keep_best(self) -> None:
        """Restore the best epoch's weights, and fit the rotation to its outputs."""
        self.network.load_state_dict(self.best.network)
        self.rotation = fit_rotation(self.settings.rotation, self.outputs(self.train), self.settings.seed)

    @property
    def map_at(self) -> int | None:
        """How many of the nearest items the mean average precision counts; None for all."""
        return self.settings.map_at or PROTOCOLS[self.settings.protocol].map_at

    def outputs(self, items: Loaded) -> torch.Tensor:
        """Return the outputs for some items after their activation, float32 [n, n_bits] on the CPU."""
        return self.learner.activated(super().outputs(items))

    def evaluate(self) -> dict[str, float]:
        """Return what the queries retrieve, and which epoch was kept."""
        outputs = {"query": self.outputs(self.query), "database": self.outputs(self.database)}
        labels = {"query_labels": self.query.labels, "labels": self.database.labels}
        results = evaluate_codes(**outputs, **labels, at=self.map_at, ties=self.settings.ties)
        results["epoch"] = self.best.epoch
        if len(self.validation) > 1:
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
    """The network and its loss as one module.

    Args:
        network: from items to outputs u [n, n_bits].
        loss: of u and labels; a `HashingLoss` also gets the items' indices.
        settings: say the length of the codes, the activation of u, and the precision of the network's arithmetic.
    """

    network: nn.Module
    loss: nn.Module

    def __init__(self, network: nn.Module, loss: nn.Module, settings: SupervisedSettings) -> None:
        super().__init__()
        self.network, self.loss, self.settings = network, loss, settings

    def activated(self, u: torch.Tensor) -> torch.Tensor:
        """Return what the loss is given of outputs."""
        return u.tanh() if self.settings.activation == "tanh" else u

    def outputs(self, items: torch.Tensor) -> torch.Tensor:
        """Return u after its activation, float32, of a batch."""
        with torch.autocast(items.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            u = self.network(items)
        check_outputs("train", u, len(items), self.settings.bits)
        return self.activated(u.float())

    def forward(self, u: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the loss of a batch's outputs, and its terms where it tells them."""
        logged = {}
        if not isinstance(self.loss, HashingLoss):
            loss = self.loss(u, labels)
        elif type(self.loss).forward is not HashingLoss.forward:  # which may return another sum
            loss = self.loss(u, labels, indices)
        else:
            terms = self.loss.terms(u, labels, indices)
            loss = self.loss.weighted(terms)
            logged = {name: term.detach() for name, term in terms._asdict().items() if term is not None}
        if not isinstance(loss, torch.Tensor):
            raise TypeError(f"train: expected loss to return a scalar tensor, got {type(loss).__name__}")
        if loss.ndim != 0:
            raise ValueError(f"train: expected loss to return a scalar, got {list(loss.shape)}")
        if torch.is_grad_enabled() and not loss.requires_grad:
            raise ValueError("train: expected loss to have a gradient in what is trained, got one that has none")
        return {"loss": loss, **logged}


def validation_splits(n: int, settings: SupervisedSettings) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return, for each split of n validation items, which are searched for, at least one, and which are searched."""
    n_asked = max(1, min(n - 1, round(settings.validation_share * n)))
    generator = np.random.default_rng(settings.split_seed)
    shuffled = [generator.permutation(n) for _ in range(settings.validation_splits)]
    return [(order[:n_asked], order[n_asked:]) for order in shuffled]


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
        own = ", ".join(name for name in taken if name not in SET_OTHERWISE) or "none"
        raise ValueError(f"build_loss: expected arguments of {method} ({own}), got {', '.join(unknown)}")
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
    return x.mean(dim=(0, 1)).expand(n_values), x.std(dim=(0, 1), correction=0).expand(n_values)
