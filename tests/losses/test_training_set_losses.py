"""DSDH and ADSH, which keep outputs and codes for each item of the training set."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from fasthash import losses
from fasthash.losses.training_set import MAX_CELLS, descend_bits

N, BITS, CLASSES = 40, 6, 4
GENERATOR = torch.Generator().manual_seed(0)
U = torch.randn(N, BITS, generator=GENERATOR, dtype=torch.float64) * 1.5
SINGLE = torch.randint(0, CLASSES, (N,), generator=GENERATOR)
SEVERAL = (torch.rand(N, CLASSES, generator=GENERATOR) < 0.4).long()  # an item may have no label
BATCH = torch.tensor([3, 0, 17, 39, 21])
BOTH = {"DSDH": losses.DSDH, "ADSH": losses.ADSH}
LABELS = pytest.mark.parametrize("labels", [SINGLE, SEVERAL], ids=["single", "several"])
NAMES = pytest.mark.parametrize("name", BOTH)


def indicator(labels):
    """Y, [n, c] in float64."""
    return (labels if labels.ndim == 2 else torch.nn.functional.one_hot(labels, CLASSES)).double()


def similarities(labels):
    """S, 0 and 1 [n, n] in float64."""
    y = indicator(labels)
    return (y @ y.T > 0).double()


def signs(x, old):
    return torch.where(x == 0, old, x.sign())


def train(loss, labels, epochs, first=0):
    """Pass over the training set in batches of seven, with outputs that differ from epoch to epoch."""
    values = []
    for epoch in range(first, first + epochs):
        for rows in torch.arange(N).split(7):
            values.append(loss(U[rows].roll(epoch, 0).float(), labels[rows], rows).item())
        loss.end_epoch()
    return values


def test_dsdh_by_hand():
    loss = losses.DSDH(torch.tensor([0, 1]), 1, 2, mu=0.5, nu=2, eta=0.25).double()
    loss.codes.copy_(torch.tensor([[1.0], [1.0]]))
    loss.outputs.copy_(torch.tensor([[7.0], [-1.0]]))
    u = torch.tensor([[2.0]], dtype=torch.float64, requires_grad=True)
    value = loss(u, torch.tensor([0]), torch.tensor([0]))
    # t is 2 * 2 / 2 with itself, 2 * -1 / 2 with the other.
    assert value.item() == pytest.approx((math.log1p(math.e**2) - 2 + math.log1p(1 / math.e)) / 2 + 0.25)
    value.backward()
    by_hand = ((1 / (1 + math.e**-2) - 1) * 2 / 2 + 1 / (1 + math.e) * -1 / 2) / 2 + 0.25 * 2
    assert u.grad.item() == pytest.approx(by_hand)
    loss.end_epoch()
    assert loss.classifier.tolist() == [[pytest.approx(1 / 6), pytest.approx(1 / 6)]]  # 1 / (2 + 2 / 0.5)
    assert loss.codes.tolist() == [[1], [-1]]  # the signs of 1 / 6 + 0.5 * 2 and 1 / 6 - 0.5


def test_adsh_by_hand():
    loss = losses.ADSH(torch.tensor([0, 1, 1]), 2, 2, gamma=3, n_inner=1).double()
    assert loss.ratio == 5 / 4
    loss.codes.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]]))
    loss._sum_codes()
    h = torch.tensor([[0.5, -0.25]], dtype=torch.float64)
    value = loss(h.atanh(), torch.tensor([0]), torch.tensor([0]))
    squares = (0.25 - 2) ** 2 + (0.75 + 2.5) ** 2 + (-0.75 + 2.5) ** 2
    assert value.item() == pytest.approx((squares + 3 * (0.5**2 + 1.25**2)) / 3)
    loss.end_epoch()
    # Only item 0 was seen: item 0 wants 2 h + 3 h, the others -2.5 h; and each bit less h_1 h_2 times the other.
    assert loss.codes.tolist() == [[1, -1], [-1, 1], [-1, 1]]
    assert not loss.outputs.any()


@LABELS
@pytest.mark.parametrize("cells", [7, MAX_CELLS])
def test_dsdh_compares_a_batch_with_the_whole_training_set(monkeypatch, labels, cells):
    monkeypatch.setattr(losses.dsdh, "MAX_CELLS", cells)
    loss = losses.DSDH(labels, BITS, CLASSES, quantization="none").double()
    loss.outputs.copy_(U.roll(1, 0))
    u = U[BATCH].clone().requires_grad_()
    loss(u, labels[BATCH], BATCH).backward()
    kept = U.roll(1, 0)
    kept[BATCH] = U[BATCH]
    assert torch.equal(loss.outputs, kept)
    v = U[BATCH].clone().requires_grad_()
    t = v @ kept.T / 2
    expected = (torch.log1p(t.exp()) - similarities(labels)[BATCH] * t).mean()
    expected.backward()
    torch.testing.assert_close(loss(u, labels[BATCH], BATCH), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(u.grad, v.grad, rtol=1e-10, atol=1e-14)


@LABELS
def test_adsh_compares_a_batch_with_all_codes(monkeypatch, labels):
    whole = losses.ADSH(labels, BITS, CLASSES)
    monkeypatch.setattr(losses.adsh, "MAX_CELLS", 7)
    loss = losses.ADSH(labels, BITS, CLASSES).double()
    assert loss.ratio == whole.ratio
    s = similarities(labels)
    ratio = s.sum() / (1 - s).sum()
    s = s * (1 + ratio) - ratio
    u, v = U[BATCH].clone().requires_grad_(), U[BATCH].clone().requires_grad_()
    h = v.tanh()
    squares = (h @ loss.codes.T - BITS * s[BATCH]).square().sum() + 200 * (loss.codes[BATCH] - h).square().sum()
    expected = squares / (N * len(BATCH))
    value = loss(u, labels[BATCH], BATCH)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    value.backward()
    expected.backward()
    torch.testing.assert_close(u.grad, v.grad, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(loss.outputs[BATCH], h.detach())


def dsdh_objective(loss, labels):
    classified = (indicator(labels) - loss.codes @ loss.classifier).square().sum()
    return classified + loss.eta / loss.mu * (loss.codes - loss.outputs).square().sum()


@LABELS
@pytest.mark.parametrize("n_sweeps", [1, 10])
def test_dsdh_finds_the_codes_of_the_textbook(labels, n_sweeps):
    loss = losses.DSDH(labels, BITS, CLASSES, mu=0.5, nu=0.2, eta=0.1, n_sweeps=n_sweeps).double()
    loss.outputs.copy_(U)
    y, b = indicator(labels), loss.codes.clone()
    for _ in range(3):
        loss.end_epoch()
        w = torch.linalg.inv(b.T @ b + 0.2 / 0.5 * torch.eye(BITS)) @ b.T @ y
        torch.testing.assert_close(loss.classifier, w)
        for _ in range(n_sweeps):
            for bit in range(BITS):
                rest = [other for other in range(BITS) if other != bit]
                p = y @ w.T + 0.1 / 0.5 * U
                b[:, bit] = signs(p[:, bit] - b[:, rest] @ w[rest] @ w[bit], b[:, bit])
        assert torch.equal(loss.codes, b)


@LABELS
def test_dsdh_objective_never_rises(monkeypatch, labels):
    loss = losses.DSDH(labels, BITS, CLASSES, mu=0.5, nu=1e-9, eta=0.1).double()
    loss.outputs.copy_(U)
    before = dsdh_objective(loss, labels)
    values = []

    def watched(codes, linear, gram, n_sweeps):
        values.append(dsdh_objective(loss, labels))  # the classifier is new
        return descend_bits(codes, linear, gram, n_sweeps)

    monkeypatch.setattr(losses.dsdh, "descend_bits", watched)
    for _ in range(4):
        loss.end_epoch()
        values.append(dsdh_objective(loss, labels))
    assert all(after <= value + 1e-9 for value, after in zip([before, *values], values, strict=False))
    assert values[-1] < 0.8 * before


@LABELS
def test_adsh_finds_the_codes_of_the_textbook(labels):
    loss = losses.ADSH(labels, BITS, CLASSES, gamma=20, n_inner=2).double()
    s = similarities(labels)
    s = s * (1 + loss.ratio) - loss.ratio
    v = loss.codes.clone()
    for omega in (BATCH, torch.arange(N), torch.arange(0, N, 3)):
        loss(U[omega] + 1, labels[omega], omega)
        loss.end_epoch()
        assert torch.equal(loss.codes, v)  # after one of two epochs
        loss(U[omega], labels[omega], omega)
        loss.end_epoch()
        u, spread = U[omega].tanh(), torch.zeros(N, BITS).double()
        spread[omega] = u

        def objective(v, omega=omega, u=u):
            return (u @ v.T - BITS * s[omega]).square().sum() + 20 * (v[omega] - u).square().sum()

        q = -2 * BITS * s[omega].T @ u - 2 * 20 * spread
        for bit in range(BITS):
            rest = [other for other in range(BITS) if other != bit]
            before = objective(v)
            v[:, bit] = signs(-(q[:, bit] + 2 * v[:, rest] @ (u[:, rest].T @ u[:, bit])), v[:, bit])
            assert objective(v) <= before + 1e-9
        assert torch.equal(loss.codes, v)


def test_zeros_keep_bits_and_finished_rows_stay():
    codes = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert torch.equal(descend_bits(codes, torch.zeros(2, 2), torch.eye(2), 3), codes)
    assert torch.equal(descend_bits(codes, torch.full((2, 2), torch.nan), torch.eye(2), 3), codes)
    linear, gram = U.clone(), U.T @ U / N
    start = torch.ones(N, BITS).double()
    one_by_one = torch.cat([descend_bits(start[i : i + 1], linear[i : i + 1], gram, 20) for i in range(N)])
    together = descend_bits(start, linear, gram, 20)
    assert torch.equal(together, one_by_one)
    assert torch.equal(together, descend_bits(together, linear, gram, 1))
    assert not torch.equal(together, descend_bits(start, linear, gram, 1))
    assert (start == 1).all()


@NAMES
@LABELS
def test_a_saved_loss_goes_on_as_if_nothing_happened(tmp_path, name, labels):
    loss = BOTH[name](labels, BITS, CLASSES)
    train(loss, labels, 4)
    save_file(loss.state_dict(), tmp_path / "loss.safetensors")
    other = BOTH[name](labels, BITS, CLASSES, seed=1)
    other.load_state_dict(load_file(tmp_path / "loss.safetensors"))
    assert train(loss, labels, 3, first=4) == train(other, labels, 3, first=4)
    for key, value in loss.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


@NAMES
def test_codes_of_an_epoch_without_items_stay_bits(name):
    for labels in (SINGLE, SEVERAL):
        loss = BOTH[name](labels, BITS, CLASSES)
        for _ in range(3):
            loss.end_epoch()
        assert set(loss.codes.unique().tolist()) == {-1, 1}
        loss(U[BATCH].float(), labels[BATCH], BATCH)
        for _ in range(3):
            loss.end_epoch()
        assert set(loss.codes.unique().tolist()) == {-1, 1}


@NAMES
def test_evaluation_keeps_nothing(name):
    loss = BOTH[name](SINGLE, BITS, CLASSES)
    train(loss, SINGLE, 1)
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    loss.eval()(U[BATCH].float(), SINGLE[BATCH], BATCH)
    assert all(torch.equal(value, state[key]) for key, value in loss.state_dict().items())


@NAMES
def test_all_pairs_similar(name):
    loss = BOTH[name](torch.zeros(N, dtype=torch.int64), BITS, 2)
    assert math.isfinite(loss(U.float(), torch.zeros(N, dtype=torch.int64), torch.arange(N)))
    for _ in range(3):
        loss.end_epoch()
    assert set(loss.codes.unique().tolist()) == {-1, 1}


@NAMES
def test_low_precision_outputs_are_summed_in_full(name):
    loss = BOTH[name](SINGLE, BITS, CLASSES)
    rounded = U.bfloat16()
    expected = loss(rounded.float(), SINGLE, torch.arange(N))
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(rounded, SINGLE, torch.arange(N))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=5e-3, atol=0)
    assert loss.outputs.dtype == torch.float32


@NAMES
@LABELS
def test_everything_kept_moves_with_the_module(name, labels):
    loss = BOTH[name](labels, BITS, CLASSES)
    assert {buffer.device.type for buffer in loss.to("meta").buffers()} == {"meta"}
    if torch.cuda.is_available():
        there = BOTH[name](labels, BITS, CLASSES).to("cuda")
        here = BOTH[name](labels, BITS, CLASSES)
        for _ in range(3):
            on_gpu = there(U.float().cuda(), labels.cuda(), torch.arange(N, device="cuda"))
            torch.testing.assert_close(on_gpu.cpu(), here(U.float(), labels, torch.arange(N)))
            there.end_epoch()
            here.end_epoch()
        assert torch.equal(there.codes.cpu(), here.codes)


class Largest(TorchDispatchMode):
    """Watches the number of elements of every tensor that is made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for x in made if isinstance(made, (tuple, list)) else [made]:
            if isinstance(x, torch.Tensor):
                self.elements = max(self.elements, x.numel())
        return made


@NAMES
def test_no_step_holds_all_pairs(name):
    """Of 50,000 items all pairs are 10 GB of float32; of 4,000 distinct sets of labels they are four blocks."""
    generator = torch.Generator().manual_seed(0)
    sets = torch.randperm(2**14, generator=generator)[:4000, None] >> torch.arange(14) & 1
    for labels, n_classes in ((torch.randint(0, 10, (50_000,), generator=generator), 10), (sets, 14)):
        with Largest() as largest:
            loss = BOTH[name](labels, 16, n_classes)
            rows = torch.randperm(len(labels), generator=generator)[:500]
            u = torch.randn(500, 16, generator=generator, requires_grad=True)
            loss(u, labels[rows], rows).backward()
            for _ in range(3):
                loss.end_epoch()
        assert largest.elements <= MAX_CELLS


@pytest.mark.parametrize(("name", "settings"), [("DSDH", {}), ("ADSH", {"gamma": 1.0})])  # 200 is for many more items
@LABELS
def test_training_draws_similar_items_together(name, settings, labels):
    torch.manual_seed(0)
    u = torch.nn.Parameter(torch.randn(N, 16) * 0.1)
    loss = BOTH[name](labels, 16, CLASSES, **settings)
    optimizer = torch.optim.Adam([u], lr=0.05)
    for _ in range(30):
        for rows in torch.randperm(N).split(8):
            optimizer.zero_grad()
            loss(u[rows], labels[rows], rows).backward()
            optimizer.step()
        loss.end_epoch()
    similar = similarities(labels) > 0
    for codes in (u.detach().sign(), loss.codes):
        distances = torch.cdist(codes, codes, p=0)
        assert distances[similar].mean() < 0.5 * distances[~similar].mean()


INDICES = torch.arange(N)


@NAMES
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda loss: loss(U, SINGLE), ValueError, "expected indices, the positions of the batch's items"),
        (lambda loss: loss(U, SINGLE, INDICES.int()), TypeError, "expected indices of dtype int64, got int32"),
        (lambda loss: loss(U, SINGLE, INDICES[:5]), ValueError, r"expected indices of shape \[40\], got \[5\]"),
        (lambda loss: loss(U, SINGLE, INDICES + 1), ValueError, "expected indices from 0 to 39, got 1 to 40"),
        (lambda loss: loss(U, SINGLE, INDICES - 1), ValueError, "expected indices from 0 to 39, got -1 to 38"),
        (lambda loss: loss(U, SINGLE, INDICES // 2), ValueError, "expected indices of distinct items"),
        (
            lambda loss: loss(U, SINGLE.roll(1), INDICES),
            ValueError,
            r"expected labels to be those of the training set at indices, got others in row \d+ for item \d+",
        ),
        (lambda loss: loss(U, SEVERAL, INDICES), ValueError, "expected labels of 1 dimensions"),
        (lambda loss: loss(U, SINGLE + 1, INDICES), ValueError, "expected labels from 0 to 3, got 1 to 4"),
        (lambda loss: loss(U[:, :3], SINGLE, INDICES), ValueError, "expected u of 6 columns, got 3"),
        (lambda loss: loss(U.to("meta"), SINGLE, INDICES), ValueError, "expected u on cpu"),
        (lambda loss: type(loss)(SINGLE.float(), 6, 4), TypeError, "expected labels of an integer dtype"),
        (lambda loss: type(loss)(SINGLE, 6, 3), ValueError, "expected labels from 0 to 2, got 0 to 3"),
        (lambda loss: type(loss)(SEVERAL, 6, 3), ValueError, "expected labels of 3 columns, got 4"),
        (lambda loss: type(loss)(SINGLE[:0], 6, 3), ValueError, "expected labels of at least one item"),
        (lambda loss: type(loss)(SINGLE[None, None], 6, 3), ValueError, r"expected labels of shape \[N\] or \[N, c\]"),
        (lambda loss: type(loss)(SINGLE, 0, 4), ValueError, "expected n_bits at least 1, got 0"),
        (lambda loss: type(loss)(SINGLE, 6, 4, -1.0), ValueError, "expected (mu above 0|gamma at least 0)"),
    ],
)
def test_bad_input_changes_nothing(name, call, error, message):
    loss = BOTH[name](SINGLE, BITS, CLASSES)
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    with pytest.raises(error, match=f"{name}: {message}"):
        call(loss)
    assert all(torch.equal(value, state[key]) for key, value in loss.state_dict().items())
