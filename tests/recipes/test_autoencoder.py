"""Autoencoders whose outputs a distance brings to bits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tqdm import tqdm

import fasthash as fh
from fasthash.data import Dataset
from fasthash.recipes import train
from fasthash.recipes.autoencoder import moments
from fasthash.recipes.protocols import split
from fasthash.recipes.settings import DISTANCES, AutoencoderSettings
from tests.recipes.conftest import batch_of, moved, training, weights_of

SHORT = AutoencoderSettings(dataset="digits", protocol="digits-v1", bits=16, epochs=3)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("distance", ["idr", "ot", "swd"])
def test_steps_of_each_distance_bring_outputs_to_bits(images, distance, activation):
    settings = dataclasses.replace(
        SHORT, distance=distance, activation=activation, weight=1.0, learning_rate=3e-3, n_projections=50
    )
    learner = training(images, settings)
    learner.turns = ["match"]
    squash, values = (torch.tanh, (-1.0, 1.0)) if activation == "tanh" else (torch.sigmoid, (0.0, 1.0))

    def distance_to_bits():
        with torch.no_grad():
            return float(fh.hswd(squash(learner.network(batch_of(images, 500)[0])), values=values))

    before = distance_to_bits()
    for number in range(80):
        learner.step(number, *(x[number % 4 :: 4] for x in batch_of(images, 500)))
    assert distance_to_bits() < 0.8 * before


@pytest.mark.slow
@pytest.mark.parametrize("distance", ["wgan", "js"])
def test_a_critic_finds_a_distance_and_the_encoder_lessens_it(images, distance):
    learner = training(images, dataclasses.replace(SHORT, distance=distance, weight=1.0))
    items, labels, indices = batch_of(images, 200)
    bits = torch.randint(0, 2, (200, 16), generator=torch.Generator().manual_seed(0)).float() * 2 - 1

    def distances():
        with torch.no_grad():
            b = learner.network(items).tanh()
            return learner.critic(b, bits).item(), learner.critic.own_loss(b, bits).item()

    start = distances()
    for _ in range(12):  # of five steps each
        learner._criticise(learner.network(items).tanh())
    criticised = distances()
    assert criticised[1] < start[1]
    assert criticised[0] > start[0]
    learner.turns = ["match"]
    learner._criticise = lambda b: torch.zeros(())  # its steps are made
    for number in range(5):
        learner.step(number, items, labels, indices)
    assert distances()[0] < criticised[0]


@pytest.mark.parametrize("distance", ["idr", "ot", "wgan", "js"])
def test_steps_take_turns_as_the_authors_have_it(images, distance):
    learner = training(images, dataclasses.replace(SHORT, distance=distance))
    taught = []
    for number in range(12):
        before = {name: weights_of(part) for name, part in learner.state.items() if "optimizer" not in name}
        learner.step(number, *batch_of(images))
        taught.append({name for name, weights in before.items() if moved(weights, learner.state[name])})
    adversary = {"critic"} if distance in ("wgan", "js") else set()
    assert taught == ([{"encoder", "decoder"}] * 5 + [{"encoder"} | adversary]) * 2


@pytest.mark.parametrize("steps", ["alternate", "sum"])
def test_a_critic_makes_its_steps_before_each_of_the_distance(images, steps):
    learner = training(images, dataclasses.replace(SHORT, distance="wgan", critic_steps=3, steps=steps))
    made, step = [], learner.critic_optimizer.step
    learner.critic_optimizer.step = lambda: made.append(1) or step()
    for number in range(12):
        learner.step(number, *batch_of(images))
    assert len(made) == 3 * (2 if steps == "alternate" else 12)


def test_turns_go_on_from_epoch_to_epoch(images):
    learner = training(images, SHORT)  # 7 batches an epoch, 6 turns
    numbers = []
    learner.step = lambda number, *batch: numbers.append(number) or {}
    for epoch in (1, 2):
        learner._epoch(epoch, tqdm(disable=True))
    assert numbers == list(range(14))


def test_a_plain_autoencoder_only_reconstructs(images):
    learner = training(images, dataclasses.replace(SHORT, distance="none"))
    for number in range(12):
        assert set(learner.step(number, *batch_of(images))) == {"loss"}


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_the_sum_is_the_papers_equation_11(images, activation):
    settings = dataclasses.replace(SHORT, steps="sum", weight=0.3, activation=activation)
    learner = training(images, settings)
    x = batch_of(images)[0].reshape(64, -1) / 127.5 - 1
    u = learner.network(batch_of(images)[0])
    b = u.tanh() if activation == "tanh" else u.sigmoid()
    errors = (learner.decoder(u if activation == "tanh" else b) - x).square().mean()
    train = images.items[split(images, "digits-v1").train].reshape(1000, -1) / 127.5 - 1
    distance = fh.hswd(b, values=(-1.0 if activation == "tanh" else 0.0, 1.0))
    loss = errors / train.var(axis=0).mean() + 0.3 * distance
    expected = torch.autograd.grad(loss, [*learner.network.parameters(), *learner.decoder.parameters()])
    terms = learner.step(0, *batch_of(images))
    assert terms["distance"].item() == pytest.approx(distance.item())
    for gradient, weights in zip(expected, learner.optimizer.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(weights.grad, gradient, rtol=1e-3, atol=1e-7)


def test_both_conventions_are_one_distance_but_for_a_factor(images):
    u = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    by_tanh = training(images, SHORT)._distance(u.tanh())
    by_sigmoid = training(images, dataclasses.replace(SHORT, activation="sigmoid"))._distance((2 * u).sigmoid())
    torch.testing.assert_close(by_tanh, 4 * by_sigmoid)


def test_networks_start_as_the_authors_have_it(images):
    learner = training(images, dataclasses.replace(SHORT, distance="wgan"))
    shapes = [tuple(weight.shape) for weight in learner.network.parameters() if weight.ndim == 2]
    assert shapes == [(500, 64), (500, 500), (100, 500), (16, 100)]
    shapes = [tuple(weight.shape) for weight in learner.decoder.parameters() if weight.ndim == 2]
    assert shapes == [(100, 16), (500, 100), (500, 500), (64, 500)]
    shapes = [tuple(weight.shape) for weight in learner.critic.parameters() if weight.ndim == 2]
    assert shapes == [(50, 16), (50, 50), (100, 50), (1, 100)]
    for weights in [*learner.network.parameters(), *learner.decoder.parameters()]:
        if weights.ndim == 2:
            assert weights.std().item() == pytest.approx(0.02, rel=0.2)
        else:
            assert (weights == 0).all()


def test_moments_are_numpys(rng):
    x = (3 + rng.standard_normal((50, 4)) * [1, 2, 0.1, 5]).astype(np.float32)
    mean, covariance = moments(torch.from_numpy(part) for part in np.split(x, [7, 40]))
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(x.T.astype(np.float64), bias=True), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:train. the codes have collapsed")  # after few steps
@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_results_tell_what_decoder_and_components_lose(images, activation):
    run = train(dataclasses.replace(SHORT, activation=activation, epochs=1), dataset=images, device="cpu")
    parts = split(images, "digits-v1")
    x, queries = (images.items[part].reshape(-1, 64) / 127.5 - 1 for part in (parts.train, parts.query))
    mean = x.mean(axis=0)
    axes = np.linalg.svd(x - mean, full_matrices=False)[2][:16]
    squares = np.square(queries - mean).sum()
    by_hand = 1 - np.square((queries - mean) @ axes.T).sum() / squares
    assert run.results["variance_lost_by_pca"] == pytest.approx(by_hand, rel=1e-4)
    with torch.no_grad():
        u = run.network(torch.from_numpy(images.items[parts.query]))
        again = run.modules["decoder"](u if activation == "tanh" else u.sigmoid()).numpy()
    assert run.results["variance_lost"] == pytest.approx(np.square(again - queries).sum() / squares, rel=1e-4)
    assert by_hand < run.results["variance_lost"]


def test_wgans_critic_keeps_bounded_weights(images):
    learner = training(images, dataclasses.replace(SHORT, distance="wgan", critic_clamp=0.03))
    for number in range(7):
        learner.step(number, *batch_of(images))
    largest = max(weights.abs().max().item() for weights in learner.critic.parameters())
    assert largest == pytest.approx(0.03)


@pytest.mark.slow
@pytest.mark.parametrize("distance", DISTANCES)
def test_autoencoders_learn(images, distance):
    settings = dataclasses.replace(SHORT, distance=distance, batch_size=32, epochs=12, n_projections=50)
    run = train(settings, dataset=images, device="cpu")
    assert run.history[-1]["loss"] < 0.8 * run.history[0]["loss"]
    assert run.results["mAP"] > 0.25  # 0.1 by chance
    assert ("distance" in run.history[-1]) == (distance != "none")


def test_items_that_are_all_the_same_are_refused(images):
    same = Dataset("same", np.ones_like(images.items), images.labels, {}, images.class_names)
    with pytest.raises(ValueError, match="train: expected training items that differ"):
        train(SHORT, dataset=same, device="cpu")
