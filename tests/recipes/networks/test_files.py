from __future__ import annotations

import pytest
import torch

from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.networks.files import load_module, save_module


class Scale(torch.nn.Module):
    def __init__(self, n):
        super().__init__()
        self.factors = torch.nn.Parameter(torch.rand(n))


def test_a_module_is_made_anew_from_its_file(tmp_path):
    module = Scale(5)
    save_module(module, tmp_path / "a", "scales 1", {"n": 5})
    again = load_module(Scale, tmp_path / "a", "scales 1")
    assert torch.equal(again.factors, module.factors)
    assert not again.training
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_files_of_another_format_or_shape_are_refused(tmp_path):
    save_module(Scale(5), tmp_path / "a", "scales 1", {"n": 4})
    with pytest.raises(ValueError, match=r"Scale.load: expected a file of format 'scales 2', got .*a"):
        load_module(Scale, tmp_path / "a", "scales 2")
    with pytest.raises(ValueError, match=r"(?s)Scale.load: expected a network written by save, got .*a: .*mismatch"):
        load_module(Scale, tmp_path / "a", "scales 1")
    (tmp_path / "b").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"Scale.load: expected a network written by save, got .*b"):
        load_module(Scale, tmp_path / "b", "scales 1")


def test_what_is_not_registered_here_is_told_of(tmp_path):
    network = HashingNetwork("mlp", (5,), 8)
    network.architecture = "theirs"
    network.save(tmp_path / "network")
    with pytest.raises(ValueError, match=r"(?s)architecture to be one of .* got 'theirs'; what registers a name"):
        HashingNetwork.load(tmp_path / "network")
