from .entry import train
from .evaluation import encode
from .loop import Given, Run, Training
from .networks import Backbone, HashingNetwork
from .protocols import PROTOCOLS, Parts, Protocol, split
from .settings import (
    BACKBONES,
    RECIPES,
    AutoencoderSettings,
    IGANSettings,
    RecipeSettings,
    SGHSettings,
    SSDHSettings,
    SupervisedSettings,
    option,
)

__all__ = [
    "BACKBONES",
    "PROTOCOLS",
    "RECIPES",
    "AutoencoderSettings",
    "Backbone",
    "Given",
    "HashingNetwork",
    "IGANSettings",
    "Parts",
    "Protocol",
    "RecipeSettings",
    "Run",
    "SGHSettings",
    "SSDHSettings",
    "SupervisedSettings",
    "Training",
    "encode",
    "option",
    "split",
    "train",
]
