"""Labels that can be taken two ways are refused wherever labels are taken; every way to write the same ones is one."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch

import fasthash as fh
from fasthash import evaluate, losses
from fasthash.evaluate.plots import code_map

U = torch.tensor([[3.0, 3.0], [-3.0, -3.0], [3.0, -3.0], [2.0, 1.0]])
INDICES = torch.arange(4)
CLASSES = torch.tensor([0, 1, 2, 0])
SEVERAL = torch.nn.functional.one_hot(CLASSES, 3)
CODES = fh.pack_bits(U)

METRICS = {
    "mean_average_precision": evaluate.mean_average_precision,
    "precision_at": partial(evaluate.precision_at, 2),
    "recall_at": partial(evaluate.recall_at, 2),
    "precision_within": partial(evaluate.precision_within, 1),
    "precision_recall_curve": evaluate.precision_recall_curve,
}


def measured(metric):
    return lambda labels: metric(CODES, labels, CODES, labels)


def loss_of(name):
    kind = getattr(losses, name)
    sizes = {"n_bits": 2, "n_classes": 3} if name in ("CSQ", "GreedyHash", "HyP2", "ADSH", "DSDH") else {}

    @torch.no_grad()
    def call(labels):
        torch.manual_seed(0)
        loss = kind(labels, **sizes) if kind.needs_indices else kind(**sizes)
        return loss(U, labels, INDICES)

    return call


LOSSES = [
    name
    for name in losses.__all__
    if isinstance(kind := getattr(losses, name), type)
    and issubclass(kind, losses.HashingLoss)
    and kind is not losses.HashingLoss
]
TAKERS = {name: measured(metric) for name, metric in METRICS.items()} | {name: loss_of(name) for name in LOSSES}
EVERY = pytest.mark.parametrize("taker", TAKERS)


@EVERY
@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (CLASSES[:, None], ValueError, "of shape [{n}], or [{n}, c] with c from 2, got [4, 1]; pass {name}[:, 0] if"),
        (
            CLASSES[:, None] > 0,
            ValueError,
            "of shape [{n}], or [{n}, c] with c from 2, got [4, 1]; pass {name}[:, 0] if",
        ),
        (
            CLASSES[:, None].double(),
            ValueError,
            "of shape [{n}], or [{n}, c] with c from 2, got [4, 1]; pass {name}[:, 0] if",
        ),
        (CLASSES[None, None], ValueError, "of shape [{n}] or [{n}, c], got [1, 1, 4]"),
        (SEVERAL[:, :0], ValueError, "of shape [{n}], or [{n}, c] with c from 2, got [4, 0]"),
        (CLASSES.float(), TypeError, "of an integer dtype or bool, got float32; convert them if they are classes"),
        (SEVERAL * 2 - 1, ValueError, "of 0 and 1, as they are of shape [{n}, c], got -1 in row 0, column 1"),
        (SEVERAL * 0.9, ValueError, "of 0 and 1, as they are of shape [{n}, c], got 0.8999"),
        (SEVERAL * torch.nan, ValueError, "of 0 and 1, as they are of shape [{n}, c], got nan in row 0, column 0"),
        (SEVERAL * torch.inf, ValueError, "of 0 and 1, as they are of shape [{n}, c], got inf in row 0, column 0"),
        (torch.stack([CLASSES] * 3, 1), ValueError, "of 0 and 1, as they are of shape [{n}, c], got 2 in row 2"),
        ((SEVERAL * 256).to(torch.uint16), ValueError, "of 0 and 1, as they are of shape [{n}, c], got 256 in row 0"),
    ],
    ids=str,
)
def test_refused(taker, labels, error, message):
    name = "query_labels" if taker in METRICS else "labels"
    n = 4 if taker in METRICS or not getattr(losses, taker).needs_indices else "N"
    with pytest.raises(error, match="^" + re.escape(f"{taker}: expected {name} {message.format(name=name, n=n)}")):
        TAKERS[taker](labels)


@EVERY
@pytest.mark.parametrize(
    "labels",
    [
        SEVERAL.bool(),
        *(SEVERAL.to(getattr(torch, name)) for name in ("float32", "float64", "float16", "bfloat16")),
        *(SEVERAL.to(getattr(torch, name)) for name in ("float8_e4m3fn", "int8", "uint8", "uint16", "uint64")),
    ],
    ids=lambda labels: str(labels.dtype),
)
def test_taken_as_the_same(taker, labels):
    expected = TAKERS[taker](SEVERAL)
    found = TAKERS[taker](labels)
    for a, b in zip(*((x if isinstance(x, tuple) else (x,)) for x in (found, expected)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_map_of_codes_takes_classes_alone():
    codes = CODES.repeat(5, 1)
    for labels, error in ((CLASSES[:, None], "c from 2, got"), (SEVERAL, "of shape [4], got [4, 3]")):
        with pytest.raises(ValueError, match="^code_map: expected labels .*" + re.escape(error)):
            code_map(codes[:4], labels)


@pytest.mark.parametrize("name", LOSSES)
def test_where_values_cannot_be_looked_at_wrong_ones_make_the_loss_nan(name, monkeypatch):
    call = loss_of(name)
    expected = call(SEVERAL)
    for module in ("base", "training_set"):
        monkeypatch.setattr(f"fasthash.losses.{module}.on_cpu", lambda x: False)
    for dtype in (torch.float32, torch.int64, torch.uint16):
        assert call(SEVERAL.to(dtype)) == expected
    for wrong in (SEVERAL * 0.5, SEVERAL * 2 - 1):
        assert call(wrong).isnan()


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8", "int32", "int64"])
def test_codes_of_minus_one_and_one_are_packed(metric, dtype):
    signs = U.sign().to(getattr(torch, dtype))
    for a, b in zip(
        *(np.atleast_2d(np.array(metric(codes, CLASSES, CODES, CLASSES))) for codes in (signs, CODES)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [0, 0.5, np.nan])
def test_codes_of_other_values_are_refused(value):
    signs = U.sign()
    signs[2, 1] = value
    message = f"expected codes of dtype uint8 .* or of -1 and .1, got float32 with {float(value)} in row 2, column 1"
    with pytest.raises(TypeError, match=f"^precision_at: {message}"):
        evaluate.precision_at(1, CODES, CLASSES, signs, CLASSES)
