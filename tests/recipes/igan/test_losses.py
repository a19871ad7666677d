"""The losses of IGAN, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.recipes.igan.losses import (
    discriminator_loss,
    generator_loss,
    label_prediction_loss,
    pseudo_labels,
    reconstruction_loss,
    semantic_centroid_loss,
    supervised_hash_loss,
)


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
