"""What decides the result of each recipe, and the command's options; known without importing torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from fasthash.errors import MAX_BITS, check_choice, check_integer, check_number
from fasthash.evaluate.names import TIES
from fasthash.losses.names import LOSSES, QUANTIZATIONS
from fasthash.plugins import Registry
from fasthash.recipes.protocols import PROTOCOLS

if TYPE_CHECKING:
    from fasthash.recipes.networks import Backbone

BACKBONES: Registry[Backbone] = Registry(
    "fasthash.backbones",
    {
        name: f"fasthash.recipes.networks.backbones:{name.upper()}"
        for name in (
            *("linear", "mlp", "encoder", "cnn", "lenet", "strided", "resnet9", "resnet9_narrow"),
            *("alexnet", "vgg11", "vgg16"),
        )
    },
)
"""Backbones by the names of `--network`."""
AUGMENTATIONS = ("none", "crop", "flip-crop")
ROTATIONS = ("none", "itq", "h2q")
DISTANCES = ("idr", "ot", "swd", "wgan", "js", "none")


def option(default: Any, help: str, choices: Collection[str] | None = None, **bounds: float) -> Any:
    """Return a field of a recipe's settings.

    Args:
        default: its type is the value's.
        help: what the command line says about it.
        choices: what the value is one of; a registry's as they are when the value is checked.
        bounds: "minimum" or "above", of a number.
    """
    metadata: dict[str, Any] = {"help": help, "bounds": bounds}
    if choices is not None:
        metadata["choices"] = choices
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _kind_of(field: dataclasses.Field[Any]) -> type | None:
    """Return the type of an option that is neither a choice nor bounded, or None where its default does not tell."""
    if field.default_factory is not dataclasses.MISSING:
        return Mapping
    return None if field.default is None else type(field.default)


@dataclass(frozen=True)
class RecipeSettings:
    """What decides the result of a training, in every recipe; `fasthash train`'s options are these.

    A recipe is a subclass of it in `RECIPES`, which says what trains.
    """

    training: ClassVar[type | str]  # what trains, or where it is, "module:class"
    summary: ClassVar[str]  # for the command line
    domains: ClassVar[tuple[str, ...]] = ("dataset",)  # the fields that name data sets

    bits: int = option(32, "length of the codes", minimum=1, maximum=MAX_BITS)
    protocol: str = option("per-class-v1", "who trains, asks and is searched", choices=PROTOCOLS)
    split_seed: int = option(0, "of the split", minimum=0)
    epochs: int = option(60, "passes over the training items", minimum=1)
    batch_size: int = option(128, "items a step, of all processes together", minimum=1)
    learning_rate: float = option(1e-3, "step size of the optimizer", above=0)
    seed: int = option(0, "of weights, order and whatever is drawn", minimum=0)

    def __post_init__(self) -> None:
        """Check every value."""
        where = type(self).__name__
        for field in dataclasses.fields(self):
            value, bounds = getattr(self, field.name), field.metadata.get("bounds")
            if "choices" in field.metadata:
                check_choice(where, field.name, value, field.metadata["choices"])
            elif bounds and isinstance(field.default, int):
                object.__setattr__(self, field.name, check_integer(where, field.name, value, **bounds))
            elif bounds and (value is not None or field.default is not None):
                number = check_number(where, field.name, value, **bounds)
                if not isinstance(value, (int, float)):  # which JSON does not keep
                    object.__setattr__(self, field.name, number)
            elif (kind := _kind_of(field)) is not None and not isinstance(value, kind):
                raise TypeError(f"{where}: expected {field.name} to be a {kind.__name__}, got {type(value).__name__}")


@dataclass(frozen=True)
class SupervisedSettings(RecipeSettings):
    """What decides the result of supervised deep hashing, see `fasthash.recipes.supervised`."""

    training = "fasthash.recipes.supervised:SupervisedTraining"
    summary = "Train a network to hash from labels, and measure what its codes retrieve."

    dataset: str = option("cifar10", "name or path of a data set, see fasthash.data")
    learning_rate: float = option(1e-3, "of the last layer and the loss's parameters", above=0)
    method: str = option("csq", "loss", choices=LOSSES)
    quantization: str = option("original", "quantisation term", choices=QUANTIZATIONS)
    quantization_weight: float | None = option(None, "of the quantisation term  [default: the loss's]", minimum=0)
    loss_arguments: Mapping[str, float] = option({}, "further arguments of the loss, as alpha=0.1")
    network: str = option("cnn", "architecture", choices=BACKBONES)
    pretrained: bool = option(False, "start torchvision's networks from ImageNet's weights")
    augmentation: str = option("none", "of training images; features have none", choices=AUGMENTATIONS)
    activation: str = option("none", "of the outputs before the loss", choices=("none", "tanh"))
    optimizer: str = option("adam", "optimizer", choices=("adam", "sgd"))
    backbone_rate: float = option(1.0, "the backbone's learning rate as a share of that", minimum=0)
    schedule: str = option("cosine", "learning rate down to 0, or constant", choices=("cosine", "constant"))
    weight_decay: float = option(1e-5, "L2 penalty", minimum=0)
    validate_every: int = option(5, "epochs between validations", minimum=1)
    validation_splits: int = option(1, "of the validation items, to search for some among the others", minimum=1)
    validation_share: float = option(0.2, "of the validation items, which are searched for", above=0, below=1)
    patience: int = option(
        0, "epochs without a better validation, after which the next that is no better ends it; 0 for never", minimum=0
    )
    map_at: int = option(0, "how many of the nearest items mAP counts; 0 for as many as the protocol says", minimum=0)
    ties: str = option("expected", "rule for items at equal distance, see fasthash.evaluate", choices=TIES)
    rotation: str = option("none", "of the trained outputs before the signs", choices=ROTATIONS)
    precision: str = option("float32", "of the network's arithmetic", choices=("float32", "bfloat16"))

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        object.__setattr__(self, "loss_arguments", _loss_arguments(self.loss_arguments))
        if self.activation != "none" and self.rotation != "none":
            raise ValueError(
                "SupervisedSettings: expected rotation none, as outputs are rotated without an activation, got "
                f"{self.rotation} and {self.activation}"
            )


SET_OTHERWISE = {
    "n_bits": "bits",
    "n_classes": "the data set",
    "labels": "the data set",
    "method": "method",
    "quantization": "quantization",
    "quantization_weight": "quantization_weight",
}
"""Arguments of losses, and what says them in the place of `loss_arguments`."""


def _loss_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments of a loss as JSON keeps them, NumPy's numbers as Python's, or raise."""
    arguments = {}
    for name, value in given.items():
        if name in SET_OTHERWISE:
            raise ValueError(
                f"SupervisedSettings: expected loss_arguments without {name}, which {SET_OTHERWISE[name]} says, got "
                f"{name}={value!r}"
            )
        plain = value.item() if getattr(value, "shape", None) == () else value
        if not (plain is None or isinstance(plain, (bool, int, float, str))):
            raise TypeError(
                f"SupervisedSettings: expected loss_arguments of numbers, flags and names, got {name} of "
                f"{type(value).__name__}"
            )
        arguments[name] = plain
    return arguments


@dataclass(frozen=True)
class UnsupervisedSettings(RecipeSettings):
    """The settings that every recipe without labels has."""

    dataset: str = option("mnist", "name or path of a data set, see fasthash.data")
    protocol: str = option("unsupervised-v1", "who trains, asks and is searched", choices=PROTOCOLS)
    epochs: int = option(20, "passes over the training items", minimum=1)
    batch_size: int = option(128, "items a step", minimum=1)
    learning_rate: float = option(1e-3, "of Adam", above=0)


@dataclass(frozen=True)
class AutoencoderSettings(UnsupervisedSettings):
    """What decides the result of an autoencoder, see `fasthash.recipes.autoencoder`."""

    training = "fasthash.recipes.autoencoder:AutoencoderTraining"
    summary = "Train an autoencoder without labels, its outputs brought to bits by a distance."

    epochs: int = option(50, "passes over the training items", minimum=1)
    distance: str = option("idr", "of the outputs' distribution to that of random bits", choices=DISTANCES)
    steps: str = option("alternate", "reconstruct and match by turns, or in a sum", choices=("alternate", "sum"))
    weight: float = option(0.1, "of the distance beside the share of the variance that is lost", minimum=0)
    reconstruction_steps: int = option(5, "before each step of the distance", minimum=1)
    activation: str = option("tanh", "tanh to {-1, +1}, or sigmoid to {0, 1}", choices=("tanh", "sigmoid"))
    target: str = option("balanced", "of idr: exact, or drawn for each batch", choices=("balanced", "bernoulli"))
    n_projections: int = option(1000, "of swd", minimum=1)
    critic_steps: int = option(5, "of wgan and js, before each step of the distance", minimum=1)
    critic_clamp: float = option(0.1, "bound of the weights of wgan's critic", above=0)


@dataclass(frozen=True)
class SGHSettings(UnsupervisedSettings):
    """What decides the result of stochastic generative hashing, see `fasthash.recipes.sgh`."""

    training = "fasthash.recipes.sgh:SGHTraining"
    summary = "Train stochastic generative hashing, without labels."

    epochs: int = option(40, "passes over the training items", minimum=1)
    batch_size: int = option(500, "items a step", minimum=1)
    learning_rate: float = option(1e-2, "of Adam", above=0)
    code_weight: float = option(1e-3, "of the code's description length", minimum=0)
    weight_decay: float = option(1e-3, "half of it multiplies the squares of both matrices", minimum=0)


@dataclass(frozen=True)
class SSDHSettings(UnsupervisedSettings):
    """What decides the result of semantic structure-based hashing, see `fasthash.recipes.ssdh`."""

    training = "fasthash.recipes.ssdh:SSDHTraining"
    summary = "Train semantic structure-based hashing, without labels."

    batch_size: int = option(24, "items a step", minimum=1)
    network: str = option("linear", "encoder", choices=BACKBONES)
    deviations: float = option(2.0, "from the mode of the distances to where a pair is certain", above=0)


@dataclass(frozen=True)
class IGANSettings(RecipeSettings):
    """What decides the result of domain-adaptive hashing, see `fasthash.recipes.igan`.

    The paper gives neither the weights but L_c's and L_a's, nor v, epsilon, T, the learning rates and the steps.
    """

    training = "fasthash.recipes.igan.training:IGANTraining"
    summary = "Train domain-adaptive hashing: labels in one domain, none in the other."
    domains = ("source", "target")

    source: str = option("mnist", "labelled domain: name or path of a data set, see fasthash.data")
    target: str = option("usps", "unlabelled domain, of the same classes")
    bits: int = option(64, "length of the codes", minimum=1, maximum=MAX_BITS)
    protocol: str = option("domains-v1", "who trains, asks and is searched, in each domain", choices=PROTOCOLS)
    epochs: int = option(30, "of --epoch-steps steps each, those from the source alone included", minimum=1)
    epoch_steps: int = option(65, "batches of both domains an epoch, whatever their sizes", minimum=1)
    batch_size: int = option(100, "items of each domain a step; the paper's is 10 times the classes", minimum=1)
    image_size: int = option(32, "what images are brought to", minimum=4)
    network: str = option(
        "lenet", "encoder of images; the paper's for SVHN is of four convolutions, strided", choices=BACKBONES
    )
    source_epochs: int = option(6, "epochs from the source alone, before the others", minimum=0)
    stages: int = option(1, "of the rest; at each, generators and discriminators begin anew", minimum=1)
    ramp_epochs: int = option(5, "in which what rests on pseudo-labels comes in", minimum=1)
    classification: float = option(1.0, "weight of L_c", minimum=0)
    adversarial: float = option(0.1, "weight of L_a", minimum=0)
    alpha: float = option(0.1, "weight of L_h, supervised hashing", minimum=0)
    beta: float = option(0.01, "weight of L_s, semantic centroid alignment", minimum=0)
    chi: float = option(1.0, "weight of L_1, reconstruction", minimum=0)
    v: float = option(0.01, "weight of quantisation within L_h", minimum=0)
    epsilon: float = option(0.1, "weight of the pseudo-labels within L_c", minimum=0)
    threshold: float = option(0.9, "T, the probability above which a class is a pseudo-label", minimum=0, below=1)
    quantization: str = option("original", "the paper's, or the Wasserstein distance", choices=("original", "hswd"))

    def __post_init__(self) -> None:
        """Check every value."""
        super().__post_init__()
        if not any((self.classification, self.adversarial, self.alpha, self.beta, self.chi)):
            raise ValueError("IGANSettings: expected a loss of weight above 0, got none")
        adapting = self.epochs - self.source_epochs
        if adapting < 0:
            raise ValueError(
                f"IGANSettings: expected source_epochs at most epochs, {self.epochs}, of which they are the first, got "
                f"{self.source_epochs}"
            )
        if self.stages > max(adapting, 1):
            raise ValueError(
                f"IGANSettings: expected stages at most the epochs after source_epochs, {adapting}, got {self.stages}"
            )


RECIPES: Registry[type[RecipeSettings]] = Registry(
    "fasthash.recipes",
    {
        "supervised": SupervisedSettings,
        "autoencoder": AutoencoderSettings,
        "sgh": SGHSettings,
        "ssdh": SSDHSettings,
        "igan": IGANSettings,
    },
)
"""Settings by the names of `fasthash train`."""
