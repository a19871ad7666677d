from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash.hashers import ITQ
from fasthash.recipes import HashingNetwork, encode
from fasthash.recipes.batches import EVALUATION_BATCH, Loaded
from fasthash.recipes.evaluation import evaluate_codes, network_outputs, warn_of_collapse


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


@pytest.mark.parametrize(("at", "ties"), [(None, "expected"), (50, "cosine"), (5000, "index")])
def test_what_codes_retrieve_is_what_the_metrics_say(rng, at, ties):
    query, database = (torch.from_numpy(rng.standard_normal((n, 16))).float() for n in (20, 300))
    labels, query_labels = torch.from_numpy(rng.integers(0, 4, 300)), torch.from_numpy(rng.integers(0, 4, 20))
    found = evaluate_codes(query, query_labels, database, labels, at, ties)
    retrieval = fh.pack_bits(query), query_labels, fh.pack_bits(database), labels
    evaluate, rule = fh.evaluate, {"ties": ties}
    if ties == "cosine":
        rule |= {"query_embeddings": query, "embeddings": database}
    expected = {
        "mAP": evaluate.mean_average_precision(*retrieval, at=None if at is None else min(at, 300), **rule),
        "precision_at_100": evaluate.precision_at(100, *retrieval, **rule),
        "precision_at_1000": evaluate.precision_at(300, *retrieval, **rule),
        "precision_within_2": evaluate.precision_within(2, *retrieval),
        "quantization_angle": evaluate.quantization_angle(database),
        "bit_entropy": evaluate.bit_entropy(fh.pack_bits(database), 16).mean(),
        "distinct_codes": len({tuple(code) for code in (database > 0).tolist()}),
    }
    assert found == pytest.approx({name: float(value) for name, value in expected.items()})


def test_outputs_that_are_no_numbers_are_told_by_item():
    items = np.zeros((3, 4), np.float32)
    items[1, 2] = np.nan
    with pytest.raises(ValueError, match="^encode: expected items whose outputs are numbers, got a NaN for item 1$"):
        encode(torch.nn.Linear(4, 8), items)


@pytest.mark.parametrize(
    ("outputs", "n_classes", "told"),
    [
        (torch.ones(200, 8), 2, "1 distinct ones for 2 classes, of bits that have an entropy of 0.000"),
        (torch.tensor([[1.0] * 8, [-1.0] * 8]).repeat(100, 1), 3, "2 distinct ones for 3 classes, .* entropy of 1.000"),
        (torch.cat([torch.ones(299, 8), 1 - 2 * torch.eye(8)[:1]]), 2, "2 distinct ones for 2 .* an entropy of 0.004"),
        (torch.tensor([[1.0] * 8, [-1.0] * 8]).repeat(100, 1), 2, None),
        (torch.tensor([[1.0], [-1.0]]).repeat(100, 1), 10, None),  # no more with one bit
    ],
)
def test_codes_that_have_collapsed_are_told(outputs, n_classes, told):
    labels = torch.arange(len(outputs)) % 2
    results = evaluate_codes(outputs, labels, outputs, labels)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_collapse(results, n_classes, outputs.shape[1])
    assert len(caught) == (told is not None)
    if told:
        assert re.match(f"train: the codes have collapsed: {told}", str(caught[0].message))
