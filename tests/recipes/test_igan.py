"""IGAN: its losses by hand, the two steps, domains that fit together, trainings that are interrupted."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import fasthash as fh
from fasthash.cli import main
from fasthash.data import Dataset, ImageFiles, load_dataset
from fasthash.recipes import igan
from fasthash.recipes.domains import balanced_batches, comparable
from fasthash.recipes.igan import IGAN, IGANSettings, train_igan, unlabelled_evidence
from fasthash.recipes.igan_losses import (
    discriminator_loss,
    generator_loss,
    label_prediction_loss,
    pseudo_labels,
    reconstruction_loss,
    semantic_centroid_loss,
    supervised_hash_loss,
)
from fasthash.recipes.networks import HashingNetwork, decoder
from fasthash.recipes.protocols import split

SHORT = IGANSettings(bits=16, epochs=5, source_epochs=1, stages=2, ramp_epochs=2, image_size=8, batch_size=50)
WEIGHTS = {"L_c": "classification", "L_h": "alpha", "L_s": "beta", "L_a": "adversarial", "L_1": "chi"}
NETWORK_PARTS = ("encoder", "classifier", "generators", "discriminators")


@pytest.fixture(scope="module")
def images():
    source = load_dataset("digits")
    items, labels = source.items[:450], source.labels[:450]
    noise = np.random.default_rng(0).integers(0, 40, items.shape)
    shifted = np.roll(np.minimum(items + noise, 255).astype(np.uint8), 1, axis=2)
    return [
        dataclasses.replace(source, name=name, items=x, labels=labels)
        for name, x in (("digits", items), ("shifted", shifted))
    ]


@pytest.fixture(scope="module")
def features():
    """Gaussian classes, which the target has turned about the origin and moved."""
    rng = np.random.default_rng(0)
    means = 1.5 * rng.standard_normal((5, 20))
    turn = np.linalg.qr(np.eye(20) + 0.3 * rng.standard_normal((20, 20)))[0]
    turn *= np.sign(np.diag(turn))
    domains = []
    for name, change in (("source", lambda x: x), ("target", lambda x: x @ turn + 3 * rng.standard_normal(20))):
        labels = np.repeat(np.arange(5), 150)
        items = change(means[labels] + rng.standard_normal((750, 20))).astype(np.float32)
        domains.append(Dataset(name, items, labels, {}, tuple("01234")))
    return domains


ON_FEATURES = IGANSettings(bits=16, epochs=30, source_epochs=8, stages=1, ramp_epochs=5, batch_size=50)


def train(domains, settings=SHORT, **arguments):
    return train_igan(settings, source=domains[0], target=domains[1], device="cpu", **arguments)


def training(domains, settings=SHORT, share=1.0):
    learner = igan._Training(settings, *domains, None, torch.device("cpu"))
    learner.share = share
    return learner


def batch_of(learner, epoch=2):
    return next(iter(learner._batches(epoch)))


def weights_of(module):
    return [tensor.detach().clone() for tensor in module.parameters()]


def moved_by(learner, act):
    """The parts of the model that an action moves."""
    before = {name: weights_of(getattr(learner.model, name)) for name in NETWORK_PARTS}
    act()
    return {
        name
        for name, weights in before.items()
        if any(not torch.equal(a, b) for a, b in zip(weights, getattr(learner.model, name).parameters(), strict=True))
    }


def cross_entropy(logits, label):
    logits = logits.tolist()
    return math.log(sum(math.exp(x) for x in logits)) - logits[label]


@pytest.fixture
def numbers():
    """Random float64 tensors of a shape."""
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_pseudo_labels_are_the_classes_above_the_threshold():
    p = torch.tensor([[0.95, 0.03, 0.02], [0.5, 0.3, 0.2], [0.04, 0.05, 0.91]])
    assert pseudo_labels(p.log() + 3, 0.9).tolist() == [0, -1, 2]
    assert pseudo_labels(p.log(), 0.94).tolist() == [0, -1, -1]


def test_label_prediction_is_equation_5(numbers):
    source, target = numbers(4, 3), numbers(5, 3)
    labels, pseudo = torch.tensor([0, 2, 1, 2]), torch.tensor([1, -1, 0, -1, 2])
    ours = sum(cross_entropy(source[i], labels[i]) for i in range(4)) / 4
    theirs = sum(cross_entropy(target[i], pseudo[i]) for i in (0, 2, 4)) / 5
    loss = label_prediction_loss(source, labels, target, pseudo, 0.3)
    assert loss.item() == pytest.approx(ours + 0.3 * theirs, rel=1e-12)
    nobody = torch.full((5,), -1)
    assert label_prediction_loss(source, labels, target, nobody, 0.3).item() == pytest.approx(ours, rel=1e-12)


def test_supervised_hashing_is_equation_2(numbers):
    u, labels = numbers(4, 6).tanh(), torch.tensor([0, 1, 0, 2])
    pairs = sum(
        (float(u[i] @ u[j]) / 6 - (1 if labels[i] == labels[j] else -1)) ** 2 for i in range(4) for j in range(4)
    )
    codes = np.sign(u.numpy())
    squares = sum(float(((u[i].numpy() - codes[i]) ** 2).sum()) for i in range(4))
    expected = pairs / 2 / 16 + 0.7 / 2 * squares / (4 * 6)
    assert supervised_hash_loss(u, labels, 0.7).item() == pytest.approx(expected, rel=1e-12)
    expected = pairs / 2 / 16 + 0.7 / 2 * fh.hswd(u).item()
    assert supervised_hash_loss(u, labels, 0.7, "hswd").item() == pytest.approx(expected, rel=1e-12)


def test_centroid_alignment_is_equation_3_on_codes(numbers):
    source, target = numbers(6, 4), numbers(5, 4)
    labels, pseudo = torch.tensor([0, 1, 2, 0, 1, 3]), torch.tensor([1, -1, 1, 0, 3])  # no target item is a 2
    expected = 0.0
    for label in (0, 1, 3):
        ours = source[labels == label].numpy().mean(axis=0)
        theirs = target[pseudo == label].numpy().mean(axis=0)
        expected += float(((ours - theirs) ** 2).sum())
    assert semantic_centroid_loss(source, labels, target, pseudo, 4).item() == pytest.approx(expected, rel=1e-12)
    alone = semantic_centroid_loss(source, labels, target.requires_grad_(), torch.full((5,), -1), 4)
    alone.backward()
    assert alone.item() == 0
    assert not target.grad.any()


def test_centroids_need_every_class_in_the_source_batch(numbers):
    with pytest.raises(ValueError, match=r"expected source items of each class in the batch, got none of 1, 3"):
        semantic_centroid_loss(numbers(3, 4), torch.tensor([0, 2, 0]), numbers(2, 4), torch.tensor([0, -1]), 4)


def test_reconstruction_is_equation_7(numbers):
    source, again, target, target_again = numbers(3, 5), numbers(3, 5), numbers(4, 5), numbers(4, 5)
    expected = np.abs((source - again).numpy()).mean() + np.abs((target - target_again).numpy()).mean()
    assert reconstruction_loss(source, again, target, target_again).item() == pytest.approx(expected, rel=1e-12)


def test_discriminators_side_is_equation_10_with_both_crossings(numbers):
    source, target, source_fakes, target_fakes = numbers(3, 4), numbers(5, 4), numbers(5, 4), numbers(3, 4)
    labels, pseudo = torch.tensor([0, 2, 1]), torch.tensor([-1, 1, -1, 0, 2])
    real = sum(cross_entropy(source[i], labels[i]) for i in range(3)) / 3
    real += sum(cross_entropy(target[i], pseudo[i]) for i in (1, 3, 4)) / 5
    fakes = sum(cross_entropy(x, 3) for x in source_fakes) / 5 + sum(cross_entropy(x, 3) for x in target_fakes) / 3
    loss = discriminator_loss(source, labels, target, pseudo, source_fakes, target_fakes)
    assert loss.item() == pytest.approx(real + fakes, rel=1e-12)


def test_generators_aim_at_the_class_of_their_input(numbers):
    source_fakes, target_fakes = numbers(5, 4), numbers(3, 4)
    labels, pseudo = torch.tensor([0, 2, 1]), torch.tensor([-1, 1, -1, 0, 2])
    expected = sum(cross_entropy(source_fakes[i], pseudo[i]) for i in (1, 3, 4)) / 5
    expected += sum(cross_entropy(target_fakes[i], labels[i]) for i in range(3)) / 3
    assert generator_loss(source_fakes, pseudo, target_fakes, labels).item() == pytest.approx(expected, rel=1e-12)


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

    learner._discriminate(x, labels, z, pseudo, dict(zip(igan.DOMAINS, fakes, strict=True)))
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
    terms = learner._step(0, items, labels, others)
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
    assert moved_by(learner, lambda: learner._step(0, items, labels, others)) == {"encoder", "classifier", "generators"}


@pytest.mark.slow
@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_of_0_removes_its_loss(images, name):
    without = dataclasses.replace(SHORT, **{WEIGHTS[name]: 0.0})
    learner = training(images, without)
    expected = (
        {"L_c", "L_h", "L_s", "L_a", "L_1", "D", "pseudo_labelled"} - {name} - ({"D"} if name == "L_a" else set())
    )
    assert set(learner._step(0, *batch_of(learner))) == expected
    alone = dataclasses.replace(SHORT, **{weight: float(loss == name) for loss, weight in WEIGHTS.items()})
    learner = training(images, dataclasses.replace(alone, threshold=0.0))
    moved = {"L_c": {"classifier"}, "L_a": {"generators", "discriminators"}, "L_1": {"generators"}}.get(name, set())
    assert moved_by(learner, lambda: learner._step(0, *batch_of(learner))) == {"encoder"} | moved


def test_the_first_epochs_learn_from_the_source_alone(images):
    learner = training(images, share=0.0)
    items, labels, others = batch_of(learner)
    logits = learner.model.classifier(learner.model.hash(learner.model.encoder.prepare(items)))
    expected = torch.nn.functional.cross_entropy(logits, labels).item()
    assert moved_by(learner, lambda: learner._step(0, items, labels, others)) == {"encoder", "classifier"}
    assert learner._step(0, items, labels, torch.zeros_like(others))["L_c"].item() < expected


@pytest.mark.slow
def test_stages_begin_with_new_generators_and_the_encoder_that_was(images):
    learner = training(images, dataclasses.replace(SHORT, epochs=7, source_epochs=1, stages=2, ramp_epochs=4))
    learner._step = lambda number, *batch: {}
    renewed, shares = [], []
    for epoch in range(1, 8):
        moved = moved_by(learner, lambda epoch=epoch: learner._epoch(epoch))
        shares.append(learner.share)
        if moved:
            assert moved == {"generators", "discriminators"}
            renewed.append(epoch)
    assert renewed == [2, 5]
    assert shares == [0, 0.25, 0.5, 0.75, 1, 1, 1]


def test_batches_have_as_many_of_each_class(images, rng):
    labels = np.array([0] * 7 + [1] * 30 + [2] * 5)
    batches = balanced_batches(labels, 3, 10, 4, rng)
    assert [np.bincount(labels[batch]).tolist() for batch in batches] == [[3, 3, 3]] * 4
    drawn = np.concatenate(batches)
    assert len(set(drawn[labels[drawn] == 1])) == 12  # none twice before all were there
    assert set(drawn[labels[drawn] == 2]) == set(range(37, 42))
    learner = training(images)
    batches = list(learner._batches(3))
    assert len(batches) == len(learner._batches(3)) == len(learner.target) // 50
    for items, labels, others in batches:
        assert len(items) == len(others) == 50
        assert torch.bincount(labels).tolist() == [5] * 10


def test_domains_are_brought_to_one_shape(images):
    gray, _ = images
    colour = Dataset("colour", np.full((4, 6, 6, 3), 200, np.uint8), np.arange(4), {}, gray.class_names)
    ours, theirs = comparable("here", gray, colour, 12)
    assert ours.items.shape == (450, 12, 12, 3)
    assert theirs.items.shape == (4, 12, 12, 3)
    assert (theirs.items == 200).all()
    assert np.array_equal(ours.items[..., 0], comparable("here", gray, gray, 12)[0].items)
    same, _ = comparable("here", gray, gray, 8)
    assert np.array_equal(same.items, gray.items)
    constant = dataclasses.replace(gray, items=np.full((450, 16, 16), 77, np.uint8))
    assert (comparable("here", constant, gray, 8)[0].items == 77).all()


def test_domains_of_image_files_are_read(images, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / "a.png")
    files = Dataset("files", ImageFiles([tmp_path / "a.png"]), np.zeros(1, np.int64), {}, ("0",))
    _, theirs = comparable("here", images[0], files, 8)
    assert theirs.items.shape == (1, 8, 8, 3)
    assert (theirs.items == 90).all()


def test_a_domain_without_parts_is_split_at_random(images):
    source, _ = images
    parts = split(source, "domains-v1", seed=2)
    assert [len(x) for x in (parts.train, parts.validation, parts.query)] == [324, 36, 90]
    together = np.concatenate([parts.train, parts.validation, parts.query])
    assert np.array_equal(np.sort(together), np.arange(450))
    assert np.array_equal(parts.database, parts.train)
    published = dataclasses.replace(source, splits={"train": np.arange(300), "test": np.arange(300, 450)})
    assert np.array_equal(split(published, "domains-v1", 3).query, split(published, "published-v1", 3).query)


@pytest.mark.slow
@pytest.mark.parametrize("size", [8, 15, 16, 28, 32])
def test_generators_mirror_the_encoders_sizes(size):
    for shape in ((size, size), (size, size + 3, 3)):
        generated = decoder(shape, 12)(torch.zeros(2, 12))
        assert generated.shape == (2, 3 if len(shape) == 3 else 1, *shape[:2])
        assert generated.abs().max() <= 1
        for architecture in ("lenet", "strided"):
            assert HashingNetwork(architecture, shape, 11).outputs(generated).shape == (2, 11)
    assert decoder((size,), 12)(torch.zeros(2, 12)).shape == (2, size)


@pytest.mark.slow
def test_adaptation_beats_the_source_alone_on_features(features, tmp_path):
    adapted = train(features, ON_FEATURES, out=tmp_path / "run")
    alone = {weight: 0.0 for weight in ("adversarial", "alpha", "beta", "chi", "epsilon")}
    source_only = train(features, dataclasses.replace(ON_FEATURES, **alone))
    assert source_only.results["source_accuracy"] > 0.95
    assert adapted.results["source_accuracy"] > 0.95
    assert adapted.results["accuracy"] > source_only.results["accuracy"] + 0.1
    for name in ("mAP", "mAP_in_source", "mAP_of_classes"):
        assert adapted.results[name] > source_only.results[name] + 0.1, name
    assert adapted.results["information"] > source_only.results["information"]
    assert adapted.history[-1]["L_1"] < adapted.history[8]["L_1"]

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
    original, exchanged = (train(features, dataclasses.replace(settings, quantization=q)) for q in ("original", "hswd"))
    none = train(features, dataclasses.replace(settings, v=0.0))
    assert exchanged.results["bit_entropy"] > original.results["bit_entropy"]
    assert original.results["quantization_angle"] < none.results["quantization_angle"]


def without_seconds(run):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in [run.results, *run.history]]


@pytest.fixture(scope="module")
def whole(images):
    return train(images)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [4, 13, 26])  # from the source alone, in the first stage and in the second
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(images, whole, tmp_path, monkeypatch, steps):
    run_step, made = igan._Training._step, []

    def interrupted(self, number, *batch):
        if len(made) == steps:
            raise KeyboardInterrupt
        made.append(number)
        return run_step(self, number, *batch)

    monkeypatch.setattr(igan._Training, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(images, out=tmp_path / "parts")
    monkeypatch.setattr(igan._Training, "_step", run_step)
    resumed = train(images, out=tmp_path / "parts", resume=True)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name
    assert without_seconds(resumed) == without_seconds(whole)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers_and_another_one_others(features):
    settings = dataclasses.replace(ON_FEATURES, epochs=10)
    first, again = (without_seconds(train(features, settings)) for _ in range(2))
    assert first == again
    assert without_seconds(train(features, dataclasses.replace(settings, seed=1))) != first


@pytest.mark.slow
def test_the_targets_labels_change_nothing_but_the_results(features):
    source, target = features
    settings = dataclasses.replace(ON_FEATURES, epochs=10)
    shuffled = dataclasses.replace(target, labels=np.random.default_rng(0).permutation(target.labels))
    run, blind = (train((source, domain), settings) for domain in (target, shuffled))
    for name, tensor in run.model.state_dict().items():
        assert torch.equal(blind.model.state_dict()[name], tensor)
    assert blind.results["accuracy"] < run.results["accuracy"]
    for name in ("information", "certain", "source_accuracy"):
        assert blind.results[name] == run.results[name]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta": -1.0}, "train_igan: expected beta at least 0 and finite, got -1.0"),
        ({"bits": 0}, "expected bits at least 1, got 0"),
        ({"quantization": "swd"}, "expected quantization to be one of 'original', 'hswd', got 'swd'"),
        ({"stages": 0}, "expected stages at least 1, got 0"),
        ({"threshold": 1.0}, "expected threshold at least 0 and below 1, got 1.0"),
        (dict.fromkeys(WEIGHTS.values(), 0.0), "train_igan: expected a loss of weight above 0, got none"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        IGANSettings(**changes)


def test_what_does_not_fit_is_refused_before_training(features, tmp_path, monkeypatch):
    source, target = features

    def refused(message, ours=source, theirs=target, **changes):
        with pytest.raises(ValueError, match=message):
            train((ours, theirs), dataclasses.replace(ON_FEATURES, **changes), out=tmp_path / "a")

    refused("train_igan: expected batch_size of at least the 5 classes, got 4", batch_size=4)
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
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused("expected one process, got 2")
    assert not (tmp_path / "a").exists()


def test_other_settings_or_none_to_resume_are_refused(features, tmp_path):
    settings = dataclasses.replace(ON_FEATURES, epochs=9)
    train(features, settings, out=tmp_path)
    with pytest.raises(FileExistsError, match="expected a folder without a training in it, or to resume it"):
        train(features, settings, out=tmp_path)
    with pytest.raises(ValueError, match=r"got others \(beta: 0.01 there, 0.5 now\)"):
        train(features, dataclasses.replace(settings, beta=0.5), out=tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_the_training(features):
    with pytest.raises(FloatingPointError, match=r"train_igan: the L_\w is .* in epoch \d; lower the learning rate"):
        train(features, dataclasses.replace(ON_FEATURES, learning_rate=1e30))


@pytest.fixture
def feature_files(features, tmp_path):
    paths = [str(tmp_path / f"{domain.name}.npz") for domain in features]
    for path, domain in zip(paths, features, strict=True):
        np.savez(path, features=domain.items, labels=domain.labels)
    return paths


@pytest.mark.slow
def test_the_command_trains_from_feature_files_and_resumes(feature_files, tmp_path):
    options = ["--epochs", "6", "--source-epochs", "2", "--bits", "16", "--batch-size", "50", "--device", "cpu"]
    command = ["train", "igan", "--features", *feature_files, *options, "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "accuracy" in result.output
    assert "mAP_in_source" in result.output
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1
    assert "Error: expected a folder without a training in it, or to resume it" in again.output
    resumed = CliRunner().invoke(main, [*command, "--resume"])
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout == result.stdout
    both = CliRunner().invoke(main, [*command, "--source", "mnist"])
    assert both.exit_code == 2
    assert "expected --features or --source, got both" in both.output
