from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from fasthash.losses import LOSSES
from fasthash.plugins import Registry, located
from fasthash.recipes import (
    RECIPES,
    AutoencoderSettings,
    IGANSettings,
    RecipeSettings,
    SGHSettings,
    SSDHSettings,
    SupervisedSettings,
    Training,
    option,
)

IGAN_WEIGHTS = ("classification", "alpha", "beta", "adversarial", "chi")


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        (SupervisedSettings, {"bits": 0}, "SupervisedSettings: expected bits from 1 to 4096, got 0"),
        (SupervisedSettings, {"bits": 4097}, "expected bits from 1 to 4096, got 4097"),
        (SupervisedSettings, {"method": ["csq"]}, r"expected method to be one of .*, got \['csq'\]"),
        (SupervisedSettings, {"method": "md5"}, "expected method to be one of 'adsh', .*, got 'md5'"),
        (SupervisedSettings, {"learning_rate": 0.0}, "expected learning_rate above"),
        (SupervisedSettings, {"weight_decay": -1.0}, "expected weight_decay at least 0"),
        (SupervisedSettings, {"quantization": "ot"}, "expected quantization to be one of"),
        (SupervisedSettings, {"protocol": "per-class-v2"}, "expected protocol to be one of 'per-class-v1'"),
        (SupervisedSettings, {"ties": "none"}, "expected ties to be one of 'expected', .*, got 'none'"),
        (SupervisedSettings, {"validation_share": 1.0}, "expected validation_share above 0 and below 1, got 1.0"),
        (
            SupervisedSettings,
            {"activation": "tanh", "rotation": "itq"},
            "expected rotation none, as outputs are rotated without an activation, got itq and tanh",
        ),
        (
            SupervisedSettings,
            {"loss_arguments": {"n_bits": 3}},
            "SupervisedSettings: expected loss_arguments without n_bits, which bits says, got n_bits=3",
        ),
        (AutoencoderSettings, {"distance": "mmd"}, "AutoencoderSettings: expected distance to be one of 'idr', 'ot'"),
        (AutoencoderSettings, {"bits": 0}, "expected bits from 1 to 4096, got 0"),
        (AutoencoderSettings, {"weight": -0.1}, "expected weight at least 0"),
        (AutoencoderSettings, {"reconstruction_steps": 0}, "expected reconstruction_steps at least 1, got 0"),
        (AutoencoderSettings, {"critic_clamp": 0.0}, "expected critic_clamp above 0"),
        (AutoencoderSettings, {"activation": "relu"}, "expected activation to be one of 'tanh', 'sigmoid'"),
        (SGHSettings, {"code_weight": -1.0}, "SGHSettings: expected code_weight at least 0"),
        (SSDHSettings, {"deviations": 0.0}, "SSDHSettings: expected deviations above 0"),
        (IGANSettings, {"beta": -1.0}, "IGANSettings: expected beta at least 0 and finite, got -1.0"),
        (IGANSettings, {"bits": 0}, "expected bits from 1 to 4096, got 0"),
        (IGANSettings, {"quantization": "swd"}, "expected quantization to be one of 'original', 'hswd', got 'swd'"),
        (IGANSettings, {"stages": 0}, "expected stages at least 1, got 0"),
        (IGANSettings, {"epochs": 5}, "expected source_epochs at most epochs, 5, of which they are the first, got 6"),
        (IGANSettings, {"stages": 25}, "expected stages at most the epochs after source_epochs, 24, got 25"),
        (IGANSettings, {"threshold": 1.0}, "expected threshold at least 0 and below 1, got 1.0"),
        (IGANSettings, dict.fromkeys(IGAN_WEIGHTS, 0.0), "IGANSettings: expected a loss of weight above 0, got none"),
    ],
)
def test_settings_are_checked(settings, changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)


def test_choices_are_what_the_registry_has_when_a_value_is_checked():
    flavours = Registry("fasthash.flavours", {"sweet": 1})

    @dataclass(frozen=True)
    class Cake(RecipeSettings):
        flavour: str = option("sweet", "of it", choices=flavours)

    with pytest.raises(ValueError, match="Cake: expected flavour to be one of 'sweet', got 'sour'"):
        Cake(flavour="sour")
    flavours.register("sour", 2)
    assert Cake(flavour="sour").flavour == "sour"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_trains_and_has_a_default_for_everything(name):
    settings = RECIPES[name]()
    assert issubclass(located(settings.training), Training)
    assert settings.summary.endswith(".")
    assert all(getattr(settings, domain) for domain in settings.domains)
    assert all(field.metadata["help"] for field in dataclasses.fields(settings))


def test_every_loss_can_be_a_method():
    assert all(SupervisedSettings(method=method).method == method for method in LOSSES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained": "yes"}, "SupervisedSettings: expected pretrained to be a bool, got str"),
        ({"dataset": 3}, "SupervisedSettings: expected dataset to be a str, got int"),
        ({"loss_arguments": 3}, "SupervisedSettings: expected loss_arguments to be a Mapping, got int"),
        ({"loss_arguments": {"mu": [1, 2]}}, "expected loss_arguments of numbers, flags and names, got mu of list"),
        ({"epochs": 1.5}, "SupervisedSettings: expected epochs to be an integer, got float"),
    ],
)
def test_settings_are_of_their_types(changes, message):
    with pytest.raises(TypeError, match=message):
        SupervisedSettings(**changes)


def test_whole_numbers_of_numpy_are_taken():
    assert type(SupervisedSettings(seed=np.int64(3)).seed) is int
