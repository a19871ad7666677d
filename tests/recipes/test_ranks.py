"""Several processes that train together: `torchrun`'s, Ray Train's, and one that goes on with what they began."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import fasthash
from fasthash.plugins import located
from fasthash.recipes import RECIPES, train
from fasthash.recipes.ranks import Ranks, join_ranks, seed_epoch
from fasthash.recipes.settings import (
    AutoencoderSettings,
    IGANSettings,
    SGHSettings,
    SSDHSettings,
    SupervisedSettings,
)

pytestmark = pytest.mark.filterwarnings("ignore:train. the codes have collapsed")  # after few steps

ROOT = Path(fasthash.__file__).parents[1]
OF_DIGITS = {"protocol": "digits-v1", "bits": 16, "epochs": 3, "batch_size": 60}
BY_LABELS = {**OF_DIGITS, "dataset": "digits", "network": "mlp", "validate_every": 1}
AUTOENCODER = {**OF_DIGITS, "dataset": "digits"}
SETTINGS = {
    "csq": SupervisedSettings(**BY_LABELS, method="csq", quantization="hswd", patience=2),
    "pairs": SupervisedSettings(**BY_LABELS, method="dpsh", quantization="swd"),
    "dsdh": SupervisedSettings(**BY_LABELS, method="dsdh"),
    "adsh": SupervisedSettings(**BY_LABELS, method="adsh", loss_arguments={"n_inner": 1}),
    "idr": AutoencoderSettings(**AUTOENCODER),
    "swd": AutoencoderSettings(**AUTOENCODER, distance="swd", n_projections=20, target="bernoulli"),
    "wgan": AutoencoderSettings(**AUTOENCODER, distance="wgan", steps="sum"),
    "sgh": SGHSettings(**AUTOENCODER),
    "ssdh": SSDHSettings(**AUTOENCODER),
    "igan": IGANSettings(
        **OF_DIGITS, source="digits", target="digits", image_size=8, epoch_steps=5, source_epochs=1, ramp_epochs=1
    ),
}


def train_until(epoch, folder):
    """Go on with every training in the folder, each stopped before an epoch."""
    for name, settings in SETTINGS.items():
        training, stop = located(settings.training), pytest.MonkeyPatch()
        begin_epoch = training.begin_epoch

        def stopped(self, number, begin_epoch=begin_epoch):
            if number == epoch:
                raise KeyboardInterrupt
            begin_epoch(self, number)

        stop.setattr(training, "begin_epoch", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(settings, device="cpu", out=Path(folder) / name, resume=True)
        stop.undo()


def ranks_running(n, *arguments):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*torchrun, "-m", "tests.recipes.test_ranks", *arguments], check=True, env=environment, cwd=ROOT)


def assert_equal_to(whole, run):
    for name, tensor in whole.network.state_dict().items():
        assert torch.allclose(run.network.state_dict()[name], tensor, rtol=1e-4, atol=1e-4), name
    for expected, found in zip(whole.history, run.history, strict=True):
        assert {**expected, "seconds": 0} == pytest.approx({**found, "seconds": 0}, rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_every_recipe_trains_on_any_number_of_ranks_as_in_one_process(tmp_path):
    """Begun by one process, gone on with by two ranks, and ended by one again."""
    assert {type(settings) for settings in SETTINGS.values()} == {RECIPES[name] for name in RECIPES}
    train_until(2, tmp_path)
    ranks_running(2, "until", "3", str(tmp_path))
    for name, settings in SETTINGS.items():
        whole = train(settings, device="cpu")
        assert_equal_to(whole, train(settings, device="cpu", out=tmp_path / name, resume=True))


class Noisy(nn.Module):
    """A network whose outputs are what it draws, and whose start every process draws for itself."""

    def __init__(self):
        super().__init__()
        torch.seed()
        self.layer = nn.Linear(64, 16)
        self.register_buffer("running", torch.rand(4) < 0.5)
        self.drawn = []

    def forward(self, x):
        u = self.layer(x.flatten(1) / 255)
        if self.training:
            self.drawn.append(torch.rand(len(x), 1))
            return u + self.drawn[-1]
        return u


def check_ranks():
    """What two ranks draw for themselves, what they have in common, and what they are given of each other's."""
    network, drawn = Noisy(), []

    def loss(u, labels):
        drawn.append(torch.rand(()))
        assert len(u) == len(labels) == 60
        return (u - labels[:, None]).square().mean()

    settings = SupervisedSettings(protocol="digits-v1", dataset="digits", bits=16, epochs=2, batch_size=60)
    run = train(settings, network=network, loss=loss, device="cpu")
    _, ranks = join_ranks("cpu")
    own = torch.stack([each[:30, 0] for each in network.drawn])
    weights = torch.cat([tensor.double().flatten() for tensor in run.network.state_dict().values()])
    others = [ranks.gathered(tensor[None]) for tensor in (own, torch.stack(drawn), weights)]
    assert not torch.isclose(others[0][0], others[0][1]).any()
    assert len(torch.unique(others[0])) > 0.99 * others[0].numel()
    assert torch.equal(others[1][0], others[1][1])
    assert torch.equal(others[2][0], others[2][1])

    x = torch.arange(6.0).reshape(3, 2)[:, None].add(10 * ranks.rank).requires_grad_()
    whole = ranks.gathered(x)
    assert whole[:, 0, 0].tolist() == [0, 10, 2, 12, 4, 14]
    weight = torch.arange(12.0).reshape(6, 1, 2)
    (whole * weight).sum().backward()
    assert torch.equal(x.grad, 2 * weight[ranks.rank :: 2])
    ranks.average_gradients([x, torch.zeros(1)])
    assert torch.equal(x.grad, weight[0::2] + weight[1::2])
    images = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    ranks.share(images)
    assert torch.equal(*ranks.gathered(images.weight.detach()[None]))
    assert ranks.means({"a": float(ranks.rank), "b": 3.0}) == {"a": 0.5, "b": 3.0}
    assert ranks.from_first({"rank": ranks.rank}) == {"rank": 0}


@pytest.mark.slow
def test_ranks_draw_their_own_numbers_for_networks_and_the_same_for_losses():
    ranks_running(2, "check")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what Ray and its packages warn of
def test_ray_train_s_workers_are_ranks(tmp_path, monkeypatch):
    pytest.importorskip("ray.train.torch")
    for name, value in (("AUTH_MODE", "disabled"), ("USAGE_STATS_ENABLED", "0")):
        monkeypatch.setenv(f"RAY_{name}", value)
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    settings, out = SETTINGS["pairs"], tmp_path / "pairs"

    def train_on_worker():
        train(settings, device="cpu", out=out)
        assert torch.distributed.get_world_size() == 2

    ray.init("local", num_cpus=2, object_store_memory=80 * 2**20, log_to_driver=False)
    try:
        scaling, storage = ScalingConfig(num_workers=2), RunConfig(storage_path=str(tmp_path / "ray"))
        TorchTrainer(train_on_worker, scaling_config=scaling, run_config=storage).fit()
    finally:
        ray.shutdown()
    assert_equal_to(train(settings, device="cpu"), train(settings, device="cpu", out=out, resume=True))


def drawn(*arguments):
    seed_epoch(*arguments)
    return torch.randint(0, 2**40, ()).item()


def test_every_epoch_of_every_seed_and_rank_draws_other_numbers():
    where = list(itertools.product(range(3), range(3), range(3)))
    assert len({drawn(*at) for at in where}) == len(where)
    assert drawn(1, 2) == drawn(1, 2, 0)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_one_process_joins_nobody(device, monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert join_ranks(device) == (torch.device("cpu"), Ranks(0, 1))
    assert not torch.distributed.is_initialized()


def test_a_rank_takes_its_own_gpu(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert join_ranks("auto")[0] == torch.device("cuda", 3)
    assert join_ranks("cpu")[0] == torch.device("cpu")


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check_ranks()
    else:
        train_until(int(sys.argv[2]), sys.argv[3])
