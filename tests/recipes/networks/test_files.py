from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_model, save_file

from fasthash.recipes.igan.model import IGAN
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.networks.files import load_module, save_module
from tests.conftest import damaged


class Scale(torch.nn.Module):
    def __init__(self, n):
        super().__init__()
        self.factors = torch.nn.Parameter(torch.rand(n))
        self.register_buffer("limit", torch.tensor([-torch.inf]))
        self.register_buffer("steps", torch.tensor(7))


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.second = torch.nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("row", self.first.bias.detach()[1:3])


def test_a_module_is_made_anew_from_its_file(tmp_path):
    module = Scale(5)
    save_module(module, tmp_path / "a", "scales 1", {"n": 5})
    again = load_module(Scale, tmp_path / "a", "scales 1")
    assert torch.equal(again.factors, module.factors)
    assert torch.equal(again.limit, module.limit)
    assert not again.training
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_tensors_that_are_one_are_written_once(tmp_path):
    module = Tied()
    save_module(module, tmp_path / "a", "tied 1", {})
    for again in (load_module(Tied, tmp_path / "a", "tied 1"), Tied()):
        if again.training:
            again.row = again.row.clone()  # safetensors' own way knows no parts
            load_model(again, tmp_path / "a")
        assert again.first.weight is again.second.weight
        for name, tensor in module.state_dict().items():
            assert torch.equal(again.state_dict()[name], tensor)


def written_before(path, tensors=(), without=(), settings='{"n": 5}'):
    """Write what `save_module` wrote before there were checksums."""
    own = {name: tensor for name, tensor in Scale(5).state_dict().items() if name not in without}
    save_file(own | dict(tensors), path, {"format": "scales 1", "settings": settings})


def test_files_without_a_checksum_are_read(tmp_path):
    written_before(tmp_path / "a", {"factors": torch.arange(5.0).half()})
    assert load_module(Scale, tmp_path / "a", "scales 1").factors.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tensors": {"factors": torch.rand(4)}}, r"factors is float32 \[4\], where its settings make float32 \[5\]"),
        ({"tensors": {"factors": torch.ones(5).int()}}, r"factors is int32 \[5\], where"),
        ({"tensors": {"steps": torch.tensor(7.0)}}, r"steps is float32 \[\], where its settings make int64 \[\]"),
        ({"tensors": {"steps": torch.tensor(7).int()}}, r"steps is int32 \[\], where"),
        ({"tensors": {"factors": torch.tensor([1, 2, 3, 4, torch.inf])}}, "factors is not finite"),
        ({"tensors": {"limit": torch.tensor([torch.nan])}}, "limit is not finite"),
        ({"tensors": {"more": torch.rand(4)}}, "one that lacks, or has beyond its settings, more"),
        ({"without": ["steps"]}, "one that lacks, or has beyond its settings, steps"),
        ({"settings": '{"n": 4}'}, r"factors is float32 \[5\], where its settings make float32 \[4\]"),
        ({"settings": '{"n": -4}'}, "settings that make none: "),
        ({"settings": '{"m": 5}'}, "settings that make none: "),
        ({"settings": '{"n": "5"}'}, "settings that make none: "),
        ({"settings": "[5]"}, "settings that make none: "),
        ({"settings": "{"}, "settings that make none: "),
        ({"settings": "[" * 99999}, "settings that make none: "),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, changes, message):
    written_before(tmp_path / "a", **changes)
    with pytest.raises(ValueError, match=f"^Scale.load: expected a file of Scale at .*a, got .*{message}"):
        load_module(Scale, tmp_path / "a", "scales 1")


def test_files_of_another_format_are_refused(tmp_path):
    save_module(Scale(5), tmp_path / "a", "scales 1", {"n": 5})
    with pytest.raises(ValueError, match=r"at .*a, got one of format 'scales 1', where 'scales 2' is read"):
        load_module(Scale, tmp_path / "a", "scales 2")
    (tmp_path / "b").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"Scale.load: expected a file of Scale at .*b, got no whole safetensors file"):
        load_module(Scale, tmp_path / "b", "scales 1")


@pytest.mark.parametrize(
    "module", [lambda: HashingNetwork("linear", [12], 8), lambda: IGAN([4], 4, 2)], ids=["network", "igan"]
)
def test_a_damaged_file_is_refused(tmp_path, module):
    path = tmp_path / "a"
    made = module()
    made.save(path)
    for content in damaged(path.read_bytes(), 300):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"^{type(made).__name__}.load: expected .* at {path}, got "):
            type(made).load(path)


def test_what_is_not_registered_here_is_told_of(tmp_path):
    network = HashingNetwork("mlp", (5,), 8)
    network.architecture = "theirs"
    network.save(tmp_path / "network")
    with pytest.raises(ValueError, match=r"(?s)architecture to be one of .* got 'theirs'; what registers a name"):
        HashingNetwork.load(tmp_path / "network")
