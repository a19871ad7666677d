from __future__ import annotations

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.hashers import ITQ
from fasthash.recipes import HashingNetwork, encode
from fasthash.recipes.batches import EVALUATION_BATCH, Loaded
from fasthash.recipes.evaluation import evaluate_codes, network_outputs


@pytest.fixture
def network():
    torch.manual_seed(0)
    return HashingNetwork("cnn", (8, 8), 12, augmentation="flip-crop").train()


def test_outputs_are_of_evaluation_mode_and_in_order(network, images):
    positions = np.arange(EVALUATION_BATCH + 100)[::-1].copy()
    u = network_outputs(network, Loaded(images.items, images.labels, positions))
    assert not network.training
    with torch.no_grad():
        expected = network(torch.from_numpy(images.items[positions]))
    torch.testing.assert_close(u, expected)


def test_codes_are_the_signs_of_outputs_rotated_or_not(network, images):
    u = network_outputs(network, Loaded(images.items, images.labels, np.arange(len(images.items))))
    codes = encode(network, images.items)
    assert codes.dtype == np.uint8
    assert np.array_equal(codes, fh.pack_bits(u).numpy())
    rotation = ITQ(12).fit(u)
    assert np.array_equal(encode(network, images.items, rotation), rotation.encode(u).numpy())
    assert not np.array_equal(encode(network, images.items, rotation), codes)
    assert encode(network, torch.from_numpy(images.items[:3])).shape == (3, 2)
    assert encode(network, images.items[:0]).shape == (0, 2)


@pytest.mark.parametrize("at", [None, 50, 5000])
def test_what_codes_retrieve_is_what_the_metrics_say(rng, at):
    query, database = (torch.from_numpy(rng.standard_normal((n, 16))).float() for n in (20, 300))
    labels, query_labels = torch.from_numpy(rng.integers(0, 4, 300)), torch.from_numpy(rng.integers(0, 4, 20))
    found = evaluate_codes(query, query_labels, database, labels, at)
    retrieval = fh.pack_bits(query), query_labels, fh.pack_bits(database), labels
    evaluate = fh.evaluate
    expected = {
        "mAP": evaluate.mean_average_precision(*retrieval, at=None if at is None else min(at, 300)),
        "precision_at_100": evaluate.precision_at(100, *retrieval),
        "precision_at_1000": evaluate.precision_at(300, *retrieval),
        "precision_within_2": evaluate.precision_within(2, *retrieval),
        "quantization_angle": evaluate.quantization_angle(database),
        "bit_entropy": evaluate.bit_entropy(fh.pack_bits(database), 16).mean(),
    }
    assert found == pytest.approx({name: float(value) for name, value in expected.items()})


def test_outputs_that_are_no_numbers_are_told_by_item():
    items = np.zeros((3, 4), np.float32)
    items[1, 2] = np.nan
    with pytest.raises(ValueError, match="^encode: expected items whose outputs are numbers, got a NaN for item 1$"):
        encode(torch.nn.Linear(4, 8), items)
