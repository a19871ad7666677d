from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fasthash import losses

N, BITS, CLASSES = 6, 8, 3
U = torch.randn(N, BITS, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.5
INDICES = torch.arange(N)
SINGLE = torch.tensor([0, 1, 2, 0, 1, 0])
SEVERAL = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0], [0, 0, 1]])

MAKERS = {
    "ADSH": lambda labels, **settings: losses.ADSH(labels, BITS, CLASSES, **settings),
    "CEL": lambda labels, **settings: losses.CEL(0.1, **settings),
    "CSQ": lambda labels, **settings: losses.CSQ(BITS, CLASSES, **settings),
    "DBDH": lambda labels, **settings: losses.DBDH(**settings),
    "DCH": lambda labels, **settings: losses.DCH(10, **settings),
    "DHN": lambda labels, **settings: losses.DHN(**settings),
    "DPSH": lambda labels, **settings: losses.DPSH(**settings),
    "DSDH": lambda labels, **settings: losses.DSDH(labels, BITS, CLASSES, **settings),
    "GreedyHash": lambda labels, **settings: losses.GreedyHash(BITS, CLASSES, **settings),
    "HashNet": lambda labels, **settings: losses.HashNet(**settings),
    "HyP2": lambda labels, **settings: losses.HyP2(BITS, CLASSES, 0.1, 0.7, **settings),
    "WGLHH": lambda labels, **settings: losses.WGLHH(0.1, 0.4, **settings),
}


def labels_of(item, labels):
    return {int(labels[item])} if labels.ndim == 1 else set(labels[item].nonzero().flatten().tolist())


def pairs(labels):
    """Every pair of items, the diagonal included, and whether they are similar."""
    for i in range(N):
        for j in range(N):
            yield i, j, bool(labels_of(i, labels) & labels_of(j, labels))


def weights(labels):
    """What similar and dissimilar pairs weigh where both kinds count alike."""
    kinds = [s for *_, s in pairs(labels)]
    return {True: len(kinds) / sum(kinds), False: len(kinds) / (len(kinds) - sum(kinds))}


def cosine(a, b):
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def distance(c):
    return BITS * (1e-5 + (1 - c) / 2 * (1 - 2e-5))


def likelihood(t, s):
    return math.log1p(math.exp(t)) - s * t


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def similarity(name, u, labels, loss):
    """Each method's similarity term, pair after pair."""
    over = lambda f: mean(f(i, j, s) for i, j, s in pairs(labels))  # noqa: E731
    w = weights(labels)
    if name == "CEL":
        return over(lambda i, j, s: 1 - cosine(u[i], u[j]) if s else max(0, cosine(u[i], u[j]) - 0.1))
    if name in ("DPSH", "DSDH"):  # the batch is all that DSDH's training set holds
        return over(lambda i, j, s: likelihood(u[i] @ u[j] / 2, s))
    if name == "ADSH":
        h, v = np.tanh(u), loss.codes.numpy()
        ratio = w[False] / w[True]
        return over(lambda i, j, s: (h[i] @ v[j] - BITS * (1 if s else -ratio)) ** 2)
    if name == "DHN":
        return over(lambda i, j, s: likelihood(u[i] @ u[j], s))
    if name == "DBDH":
        h = np.clip(u, -1, 1)
        return over(lambda i, j, s: likelihood(h[i] @ h[j] / 2, s))
    if name == "HashNet":
        h = np.tanh(u)
        return over(lambda i, j, s: w[s] * likelihood(10 / BITS * (h[i] @ h[j]), s))
    if name == "DCH":

        def cauchy(i, j, s):
            p = 10 / (10 + distance(cosine(u[i], u[j])))
            return -w[s] * math.log(p if s else 1 - p)

        return over(cauchy)
    if name == "WGLHH":

        def gaussian(i, j, s):
            c = cosine(u[i], u[j])
            e = math.exp(-0.1 * distance(c) ** 2)
            divergence = e * math.log(2 * e / (e + s)) + (math.log(2 / (1 + e)) if s else 0)
            return math.exp(abs(s - (1 + c) / 2)) * (1 + 0.4 * s) * divergence

        return over(gaussian)
    if name == "CSQ":
        total = []
        for i in range(N):
            votes = sum(loss.centers[label].numpy() for label in labels_of(i, labels))
            center = np.where(votes == 0, loss.tie_bits.numpy(), np.sign(votes))
            y = np.tanh(u[i])
            total += [-math.log((1 + y[k] * center[k]) / 2) for k in range(BITS)]
        return mean(total)
    if name == "GreedyHash":
        w = loss.classifier.weight.detach().numpy()
        total = []
        for i in range(N):
            logits = w @ np.where(u[i] > 0, 1, -1)
            normaliser = math.log(np.exp(logits).sum())
            total.append(mean(normaliser - logits[label] for label in labels_of(i, labels)))
        return mean(total)
    proxies = loss.proxies.detach().numpy()
    near = [1 - cosine(u[i], proxies[c]) for i in range(N) for c in labels_of(i, labels)]
    far = [
        max(0, cosine(u[i], proxies[c]) - 0.1)
        for i in range(N)
        for c in range(CLASSES)
        if c not in labels_of(i, labels)
    ]
    several = [len(labels_of(i, labels)) > 1 for i in range(N)]
    apart = [max(0, cosine(u[i], u[j]) - 0.1) for i, j, s in pairs(labels) if not s and several[i] and several[j]]
    return mean(near) + mean(far) + 0.7 * (mean(apart) if apart else 0)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("labels", [SINGLE, SEVERAL], ids=["single", "several"])
def test_similarity_against_its_formula(name, labels):
    torch.manual_seed(0)
    loss = MAKERS[name](labels, quantization="none").double()
    expected = similarity(name, U.numpy(), labels, loss)
    assert loss(U, labels, INDICES).item() == pytest.approx(expected, rel=1e-5 if name == "CSQ" else 1e-9)


FIRST_CODES = losses.DSDH(SINGLE, BITS, CLASSES).codes
ORIGINAL = {
    "ADSH": 200 * (U.tanh() - FIRST_CODES).square().sum() / N**2,
    "CEL": 0.01 * (U.abs() - 1).square().sum(1).mean(),
    "CSQ": 1e-3 * (U.tanh().abs() - 1).square().mean(),
    "DBDH": 0.1 * U.clamp(-1, 1).mean(1).square().mean(),
    "DCH": 0.1 * mean(math.log1p(distance(cosine(u, np.ones(BITS))) / 10) for u in U.abs().numpy()),
    "DHN": 0.1 * (U.abs() - 1).cosh().log().sum(1).mean(),
    "DPSH": 0.1 * (U.abs() - 1).square().sum(1).mean(),
    "DSDH": 0.01 * (U - FIRST_CODES).square().mean(),
    "GreedyHash": 0.1 * (U.abs() - 1).abs().pow(3).mean(),
    "HashNet": 0,
    "HyP2": 0,
    "WGLHH": 0.001 * (U.abs() - 1).square().sum(1).mean(),
}


@pytest.mark.parametrize("name", MAKERS)
def test_quantisation_terms(name):
    made = {}
    for quantization in ("none", "original", "hswd", "swd"):
        torch.manual_seed(0)
        made[quantization] = MAKERS[name](SINGLE, quantization=quantization).double()
    alone = made["none"](U, SINGLE, INDICES)
    torch.testing.assert_close(made["original"](U, SINGLE, INDICES) - alone, torch.as_tensor(ORIGINAL[name]).double())
    torch.testing.assert_close(made["hswd"](U, SINGLE, INDICES) - alone, 0.1 * losses.HSWD()(U))
    swd = losses.SlicedWasserstein(20_000)(U, torch.cat([torch.ones(1, BITS), -torch.ones(1, BITS)]).double())
    assert 0 < made["swd"](U, SINGLE, INDICES) - alone < 0.1 * 3 * swd
    heavy = MAKERS[name](SINGLE, quantization="hswd", quantization_weight=2.0)
    assert heavy.quantization_weight == 2


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "GreedyHash"])
@pytest.mark.parametrize("quantization", ["original", "hswd"])
def test_gradients(name, quantization):
    torch.manual_seed(0)
    loss = MAKERS[name](SEVERAL, quantization=quantization).double().eval()
    assert torch.autograd.gradcheck(lambda u: loss(u, SEVERAL, INDICES), (U.clone().requires_grad_(),), atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_extreme_outputs_stay_finite(name):
    loss = MAKERS[name](SINGLE)
    for u in (torch.zeros(N, BITS), torch.full((N, BITS), 50.0), torch.randn(N, BITS) * 1e4, torch.ones(N, BITS)):
        u.requires_grad_()
        value = loss(u, SINGLE, INDICES)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(u.grad).all()
        loss.end_epoch()
    one = loss(torch.randn(1, BITS), SINGLE[:1], INDICES[:1])  # a batch without a dissimilar pair
    assert torch.isfinite(one)


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in ("ADSH", "DSDH")])
def test_losses_of_the_batch_alone_ignore_indices(name):
    torch.manual_seed(0)
    loss = MAKERS[name](SINGLE).double()
    assert not loss.needs_indices
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    loss.end_epoch()
    assert all(torch.equal(value, state[key]) for key, value in loss.state_dict().items())
    assert loss(U, SINGLE) == loss(U, SINGLE, INDICES)


def test_the_sign_passes_gradients_straight_through():
    u = torch.tensor([[0.3, -2.0, 0.0]], requires_grad=True)
    signs = losses.greedyhash.straight_through_sign(u)
    assert signs.tolist() == [[1, -1, -1]]
    (signs * torch.tensor([[1.0, 2.0, 3.0]])).sum().backward()
    assert u.grad.tolist() == [[1, 2, 3]]


def test_hashnet_continues():
    loss = losses.HashNet()
    assert loss.beta == 1
    for _ in range(399):
        loss(U, SINGLE)
    assert loss.beta == pytest.approx(2**0.5)
    state = loss.state_dict()
    loss.eval()
    for _ in range(10):
        loss(U, SINGLE)
    assert loss.n_steps == 399
    other = losses.HashNet()
    other.load_state_dict(state)
    assert other.beta == loss.beta


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_classes", "n_bits"),
    [(10, 16), (32, 16), (100, 64), (10, 12), (21, 48), (40_000, 32), (50_000, 16), (4, 2), (8, 3)],
)
def test_hash_centers(n_classes, n_bits):
    centers = losses.hash_centers(n_classes, n_bits)
    assert centers.shape == (n_classes, n_bits)
    assert set(centers.unique().tolist()) == {-1, 1}
    assert len(centers.unique(dim=0)) == n_classes
    assert torch.equal(centers, losses.hash_centers(n_classes, n_bits))
    if n_classes <= 2 * n_bits and n_bits in (16, 64):
        products = centers @ centers.T
        assert products.fill_diagonal_(-n_bits).max() <= 0  # at distance n_bits / 2 or more
    elif math.comb(n_bits, n_bits // 2) >= 2 * n_classes:
        assert (centers.sum(1) == 0).all()
    assert not torch.equal(losses.hash_centers(50, 12), losses.hash_centers(50, 12, seed=1))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: losses.DHN()(U, SINGLE.float()),
            TypeError,
            "DHN: expected labels of an integer dtype or bool",
        ),
        (
            lambda: losses.DHN()(U, SINGLE[:2]),
            ValueError,
            r"expected labels of shape \[6\] or \[6, c\], got \[2\]",
        ),
        (lambda: losses.DHN()(U[0], SINGLE), ValueError, r"expected u of shape \[n, n_bits\], got \[8\]"),
        (lambda: losses.DHN()(U.int(), SINGLE), TypeError, "expected u of a floating-point dtype"),
        (
            lambda: losses.DHN(quantization="l2"),
            ValueError,
            "DHN: expected quantization to be one of",
        ),
        (lambda: losses.DHN(quantization_weight=-1), ValueError, "DHN: expected quantization_weight at least 0"),
        (lambda: losses.DCH(0), ValueError, "DCH: expected gamma above 0 and finite, got 0"),
        (lambda: losses.CSQ(BITS, 2)(U, SINGLE), ValueError, "CSQ: expected labels from 0 to 1, got 0 to 2"),
        (lambda: losses.HyP2(BITS, 4)(U, SEVERAL), ValueError, "HyP2: expected labels of 4 columns, got 3"),
        (lambda: losses.CSQ(3, 9), ValueError, "hash_centers: expected n_classes for 3 bits from 1 to 8, got 9"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
