"""The steps of IGAN, and trainings that are interrupted."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tqdm import tqdm

import fasthash as fh
from fasthash.cli import main
from fasthash.recipes import entry, train
from fasthash.recipes.igan.losses import (
    discriminator_loss,
    generator_loss,
    label_prediction_loss,
    pseudo_labels,
    reconstruction_loss,
    semantic_centroid_loss,
    supervised_hash_loss,
)
from fasthash.recipes.igan.model import DOMAINS, IGAN
from fasthash.recipes.igan.training import IGANTraining, unlabelled_evidence
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.protocols import split
from fasthash.recipes.ranks import Ranks
from fasthash.recipes.settings import IGANSettings
from tests.recipes import conftest
from tests.recipes.conftest import interrupted_after, weights_of, without_seconds

SHORT = IGANSettings(
    bits=16, epochs=5, epoch_steps=6, source_epochs=1, stages=2, ramp_epochs=2, image_size=8, batch_size=50
)


WEIGHTS = {"L_c": "classification", "L_h": "alpha", "L_s": "beta", "L_a": "adversarial", "L_1": "chi"}


NETWORK_PARTS = ("encoder", "classifier", "generators", "discriminators")


ON_FEATURES = IGANSettings(
    chi=0.1, bits=16, epochs=30, source_epochs=8, stages=1, ramp_epochs=5, batch_size=50, epoch_steps=10
)


def trained(domains, settings=SHORT, **arguments):
    return train(settings, dataset=tuple(domains), device="cpu", **arguments)


def training(domains, settings=SHORT, share=1.0):
    learner = conftest.training(list(domains), settings)
    learner.share = share
    return learner


def batch_of(learner, epoch=2):
    return next(iter(learner.batches(epoch)))


def moved_by(learner, act):
    """The parts of the model that an action moves."""
    before = {name: weights_of(getattr(learner.model, name)) for name in NETWORK_PARTS}
    act()
    return {
        name
        for name, weights in before.items()
        if any(not torch.equal(a, b) for a, b in zip(weights, getattr(learner.model, name).parameters(), strict=True))
    }


def test_evidence_is_the_mutual_information_of_item_and_class():
    certain = torch.eye(4).repeat(3, 1) * 100
    assert unlabelled_evidence(certain, 0.9) == pytest.approx({"information": math.log(4), "certain": 1})
    one_class = torch.tensor([[100.0, 0, 0, 0]]).repeat(5, 1)
    assert unlabelled_evidence(one_class, 0.9) == pytest.approx({"information": 0, "certain": 1}, abs=1e-9)
    assert unlabelled_evidence(torch.zeros(5, 4), 0.9) == pytest.approx({"information": 0, "certain": 0}, abs=1e-9)
    p = torch.tensor([[0.8, 0.2], [0.4, 0.6]])
    entropies = [-sum(x * math.log(x) for x in row) for row in ((0.6, 0.4), (0.8, 0.2), (0.4, 0.6))]
    expected = entropies[0] - (entropies[1] + entropies[2]) / 2
    assert unlabelled_evidence(p.log(), 0.7) == pytest.approx({"information": expected, "certain": 0.5}, rel=1e-5)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_step_is_on_the_weighted_sum(images, share):
    """Equation 11: alpha is L_h's weight and beta L_s's, which equation 12 prints the other way round."""
    settings = dataclasses.replace(
        SHORT, classification=0.9, adversarial=0.3, alpha=0.7, beta=0.02, chi=0.4, epsilon=0.2, threshold=0.11, v=0.1
    )
    learner = training(images, settings, share)
    model, (items, labels, others) = learner.model, batch_of(learner)
    x, z = model.encoder.prepare(items), model.encoder.prepare(others)
    u, w = model.hash(x), model.hash(z)
    logits = model.classifier(u), model.classifier(w)
    pseudo = pseudo_labels(logits[1], 0.11)
    assert (pseudo >= 0).any()
    fakes = model.generators["source"](w), model.generators["target"](u)
    judged = model.discriminate("source", fakes[0].detach()), model.discriminate("target", fakes[1].detach())
    real = model.discriminate("source", x), model.discriminate("target", z)
    loss = discriminator_loss(real[0], labels, real[1], pseudo, *judged)
    expected_of_discriminators = torch.autograd.grad(loss, list(model.discriminators.parameters()))

    learner._discriminate(x, labels, z, pseudo, dict(zip(DOMAINS, fakes, strict=True)))
    for weights, gradient in zip(model.discriminators.parameters(), expected_of_discriminators, strict=True):
        torch.testing.assert_close(weights.grad, gradient, rtol=1e-4, atol=1e-7)
    again = model.generators["source"](u), model.generators["target"](w)
    total = (
        0.9 * label_prediction_loss(*(logits[0], labels, logits[1], pseudo), 0.2 * share)
        + 0.7 * supervised_hash_loss(u, labels, 0.1)
        + 0.02 * share * semantic_centroid_loss(u, labels, w, pseudo, 10)
        + 0.3
        * share
        * generator_loss(model.discriminate("source", fakes[0]), pseudo, model.discriminate("target", fakes[1]), labels)
        + 0.4 * reconstruction_loss(x, again[0], z, again[1])
    )
    learners = [*model.encoder.parameters(), *model.classifier.parameters(), *model.generators.parameters()]
    expected = torch.autograd.grad(total, learners)

    learner._discriminate = lambda *arguments: torch.zeros(())  # its step is made
    model.discriminators.requires_grad_(False)
    terms = learner.step(0, items, labels, others)
    for weights, gradient in zip(learners, expected, strict=True):
        torch.testing.assert_close(weights.grad, gradient, rtol=1e-3, atol=1e-6)
    weighted = {"L_c": 0.9, "L_h": 0.7, "L_s": 0.02 * share, "L_a": 0.3 * share, "L_1": 0.4}
    assert sum(weight * terms[name].item() for name, weight in weighted.items()) == pytest.approx(
        total.item(), rel=1e-4
    )


def test_steps_of_one_side_leave_the_other_as_it_is(images):
    learner = training(images)
    items, labels, others = batch_of(learner)
    model = learner.model
    x, z = model.encoder.prepare(items), model.encoder.prepare(others)
    u, w = model.hash(x), model.hash(z)
    fakes = {"source": model.generators["source"](w), "target": model.generators["target"](u)}
    pseudo = torch.zeros(len(z), dtype=torch.long)
    assert moved_by(learner, lambda: learner._discriminate(x, labels, z, pseudo, fakes)) == {"discriminators"}
    assert all(weights.grad is None for weights in (*model.encoder.parameters(), *model.generators.parameters()))
    learner._discriminate = lambda *arguments: torch.zeros(())
    assert moved_by(learner, lambda: learner.step(0, items, labels, others)) == {"encoder", "classifier", "generators"}


@pytest.mark.slow
@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_of_0_removes_its_loss(images, name):
    without = dataclasses.replace(SHORT, **{WEIGHTS[name]: 0.0})
    learner = training(images, without)
    expected = (
        {"L_c", "L_h", "L_s", "L_a", "L_1", "D", "pseudo_labelled", "deviation_source", "deviation_target"}
        - {name}
        - ({"D"} if name == "L_a" else set())
    )
    assert set(learner.step(0, *batch_of(learner))) == expected
    alone = dataclasses.replace(SHORT, **{weight: float(loss == name) for loss, weight in WEIGHTS.items()})
    learner = training(images, dataclasses.replace(alone, threshold=0.0))
    moved = {"L_c": {"classifier"}, "L_a": {"generators", "discriminators"}, "L_1": {"generators"}}.get(name, set())
    assert moved_by(learner, lambda: learner.step(0, *batch_of(learner))) == {"encoder"} | moved


def test_the_first_epochs_learn_from_the_source_alone(images):
    learner = training(images, share=0.0)
    items, labels, others = batch_of(learner)
    logits = learner.model.classifier(learner.model.hash(learner.model.encoder.prepare(items)))
    expected = torch.nn.functional.cross_entropy(logits, labels).item()
    assert moved_by(learner, lambda: learner.step(0, items, labels, others)) == {"encoder", "classifier"}
    assert learner.step(0, items, labels, torch.zeros_like(others))["L_c"].item() < expected


def test_a_generator_that_learns_nothing_else_makes_items_that_differ(images):
    """The mean absolute error takes it to black first, where a bounded output would keep it."""
    losses = dataclasses.replace(SHORT, adversarial=0.0, learning_rate=3e-3)
    learner = training(images, losses)
    shares = []
    for epoch in range(2, 14):
        for number, batch in enumerate(learner.batches(epoch)):
            shares.append(learner.step(number, *batch)["deviation_source"].item())
    assert shares[0] < 0.1
    assert shares[-1] > 0.3


def test_domains_of_any_size_have_as_many_steps(features):
    learner = training(features, dataclasses.replace(ON_FEATURES, batch_size=300, epoch_steps=7))
    assert [len(batch[0]) for batch in learner.batches(1)] == [300] * 7
    assert [len(batch[2]) for batch in learner.batches(1)] == [300] * 7


@pytest.mark.slow
def test_stages_begin_with_new_generators_and_the_encoder_that_was(images):
    learner = training(images, dataclasses.replace(SHORT, epochs=7, source_epochs=1, stages=2, ramp_epochs=4))
    learner.step = lambda number, *batch: {}
    renewed, shares = [], []
    for epoch in range(1, 8):
        moved = moved_by(learner, lambda epoch=epoch: learner._epoch(epoch, tqdm(disable=True)))
        shares.append(learner.share)
        if moved:
            assert moved == {"generators", "discriminators"}
            renewed.append(epoch)
    assert renewed == [2, 5]
    assert shares == [0, 0.25, 0.5, 0.75, 1, 1, 1]


@pytest.mark.slow
def test_adaptation_beats_the_source_alone_on_features(features, tmp_path):
    adapted = trained(features, ON_FEATURES, out=tmp_path / "run")
    alone = {weight: 0.0 for weight in ("adversarial", "alpha", "beta", "chi", "epsilon")}
    source_only = trained(features, dataclasses.replace(ON_FEATURES, **alone))
    assert source_only.results["source_accuracy"] > 0.95
    assert adapted.results["source_accuracy"] > 0.95
    assert adapted.results["accuracy"] > source_only.results["accuracy"] + 0.1
    for name in ("mAP", "mAP_in_source", "mAP_of_classes"):
        assert adapted.results[name] > source_only.results[name] + 0.1, name
    assert adapted.results["information"] > source_only.results["information"]
    assert adapted.history[-1]["deviation_source"] > 0.2
    assert adapted.history[-1]["deviation_target"] > 0.2

    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("settings.json", "log.csv", "checkpoint.pt", "results.json", "network.safetensors", "igan.safetensors")
    }
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == adapted.results
    encoder = HashingNetwork.load(tmp_path / "run" / "network.safetensors")
    model = IGAN.load(tmp_path / "run" / "igan.safetensors")
    target = features[1]
    query = split(target, "domains-v1").query
    items, labels = torch.from_numpy(target.items[query]), torch.from_numpy(target.labels[query])
    with torch.inference_mode():
        u = model.hash(model.encoder.prepare(items))
        assert torch.equal(fh.pack_bits(encoder(items)), fh.pack_bits(u))
        accuracy = (model.classifier(u).argmax(1) == labels).double().mean().item()
    assert accuracy == pytest.approx(adapted.results["accuracy"])


@pytest.mark.slow
def test_hswd_takes_the_place_of_the_quantisation_term(features):
    settings = dataclasses.replace(ON_FEATURES, v=1.0, epochs=14)
    original, exchanged = (
        trained(features, dataclasses.replace(settings, quantization=q)) for q in ("original", "hswd")
    )
    none = trained(features, dataclasses.replace(settings, v=0.0))
    assert exchanged.results["bit_entropy"] > original.results["bit_entropy"]
    assert original.results["quantization_angle"] < none.results["quantization_angle"]


@pytest.fixture(scope="module")
def whole(images):
    return trained(images)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [4, 13, 26])  # from the source alone, in the first stage and in the second
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(images, whole, tmp_path, monkeypatch, steps):
    go_on = interrupted_after(monkeypatch, IGANTraining, steps)
    with pytest.raises(KeyboardInterrupt):
        trained(images, out=tmp_path / "parts")
    go_on()
    resumed = trained(images, out=tmp_path / "parts", resume=True)
    for name, tensor in whole.modules["igan"].state_dict().items():
        assert torch.equal(resumed.modules["igan"].state_dict()[name], tensor), name
    assert without_seconds(resumed) == without_seconds(whole)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(features):
    settings = dataclasses.replace(ON_FEATURES, epochs=10)
    first, again = (without_seconds(trained(features, settings)) for _ in range(2))
    assert first == again
    assert without_seconds(trained(features, dataclasses.replace(settings, seed=1))) != first


@pytest.mark.slow
def test_the_targets_labels_change_nothing_but_the_results(features):
    source, target = features
    settings = dataclasses.replace(ON_FEATURES, epochs=10)
    shuffled = dataclasses.replace(target, labels=np.random.default_rng(0).permutation(target.labels))
    run, blind = (trained((source, domain), settings) for domain in (target, shuffled))
    for name, tensor in run.modules["igan"].state_dict().items():
        assert torch.equal(blind.modules["igan"].state_dict()[name], tensor)
    assert blind.results["accuracy"] < run.results["accuracy"]
    for name in ("information", "certain", "source_accuracy"):
        assert blind.results[name] == run.results[name]


def test_what_does_not_fit_is_refused_before_training(features, tmp_path, monkeypatch):
    source, target = features

    def refused(message, ours=source, theirs=target, **changes):
        with pytest.raises(ValueError, match=message):
            trained((ours, theirs), dataclasses.replace(ON_FEATURES, **changes), out=tmp_path / "a")

    refused("train: expected batch_size of at least the 5 classes, got 4", batch_size=4)
    refused("expected batch_size of at most the 540 training items, got 600", batch_size=600)
    small = dataclasses.replace(target, items=target.items[::10], labels=target.labels[::10])
    refused("expected batch_size of at most the 54 training items of target, got 60", theirs=small, batch_size=60)
    narrow = dataclasses.replace(target, items=target.items[:, :12])
    refused(r"features as wide as those of source \(20\), but those of target have 12", theirs=narrow)
    pictures = dataclasses.replace(target, items=np.zeros((750, 8, 8), np.uint8))
    refused("in both domains or images in both, but source has features and target images", theirs=pictures)
    several = dataclasses.replace(target, labels=target.labels[:, None] == np.arange(5))
    refused("expected one label an item, but target has several", theirs=several)
    named = dataclasses.replace(target, class_names=tuple("abcde"))
    refused(r"the classes of source \(0, 1, 2, 3, 4\) in target, got a, b, c, d, e", theirs=named)
    lacking = dataclasses.replace(source, labels=np.where(source.labels == 3, 2, source.labels))
    refused("expected training items of each class in source, got none of 3", ours=lacking)
    monkeypatch.setattr(entry, "join_ranks", lambda device: (torch.device("cpu"), Ranks(0, 4)))
    refused("expected batches of a multiple of the 4 processes, got 50 items")
    assert not (tmp_path / "a").exists()


def test_other_settings_or_none_to_resume_are_refused(features, tmp_path):
    settings = dataclasses.replace(ON_FEATURES, epochs=9)
    trained(features, settings, out=tmp_path)
    with pytest.raises(FileExistsError, match="expected a folder without a training in it, or to resume it"):
        trained(features, settings, out=tmp_path)
    with pytest.raises(ValueError, match=r"got others \(beta: 0.01 there, 0.5 now\)"):
        trained(features, dataclasses.replace(settings, beta=0.5), out=tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_the_training(features):
    with pytest.raises(FloatingPointError, match=r"train: the L_\w is .* in epoch \d; lower the learning rate"):
        trained(features, dataclasses.replace(ON_FEATURES, learning_rate=1e30))


@pytest.fixture
def feature_files(features, tmp_path):
    paths = [str(tmp_path / f"{domain.name}.npz") for domain in features]
    for path, domain in zip(paths, features, strict=True):
        np.savez(path, features=domain.items, labels=domain.labels)
    return paths


@pytest.mark.slow
def test_the_command_trains_from_feature_files_and_resumes(feature_files, tmp_path):
    options = ["--epochs", "6", "--source-epochs", "2", "--bits", "16", "--batch-size", "50", "--device", "cpu"]
    command = [
        "train",
        "igan",
        "--source",
        feature_files[0],
        "--target",
        feature_files[1],
        *options,
        "--out",
        str(tmp_path / "run"),
    ]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "accuracy" in result.output
    assert "mAP_in_source" in result.output
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1
    assert "Error: train: expected a folder without a training in it, or to resume it" in again.output
    resumed = CliRunner().invoke(main, [*command, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout == result.stdout


def test_the_parts_of_a_run_are_the_targets(features):
    source, target = features
    fewer = dataclasses.replace(target, items=target.items[:600], labels=target.labels[:600] % 5)
    run = trained((source, fewer), dataclasses.replace(ON_FEATURES, epochs=1, source_epochs=1))
    assert np.array_equal(run.parts.query, split(fewer, "domains-v1").query)
    assert len(run.parts.query) == 120
