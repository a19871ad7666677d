"""What holds for every loss that keeps outputs and codes for each item of the training set."""

from __future__ import annotations

import inspect
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from fasthash import losses
from fasthash.losses.base import MAX_CELLS
from fasthash.losses.training_set import TrainingSetLoss, descend_bits
from tests.losses.training_sets import BATCH, BITS, CLASSES, INDICES, LABELS, SEVERAL, SINGLE, N, U, similarities

METHODS = [
    method
    for name in losses.__all__
    if inspect.isclass(method := getattr(losses, name)) and issubclass(method, TrainingSetLoss)
]


@pytest.fixture(params=METHODS)
def method(request):
    return request.param


def train(loss, labels, epochs, first=0):
    """Pass over the training set in batches of seven, with outputs that differ from epoch to epoch."""
    values = []
    for epoch in range(first, first + epochs):
        for rows in torch.arange(N).split(7):
            values.append(loss(U[rows].roll(epoch, 0).float(), labels[rows], rows).item())
        loss.end_epoch()
    return values


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


@LABELS
def test_a_saved_loss_goes_on_as_if_nothing_happened(tmp_path, method, labels):
    loss = method(labels, BITS, CLASSES)
    train(loss, labels, 4)
    save_file(loss.state_dict(), tmp_path / "loss.safetensors")
    other = method(labels, BITS, CLASSES, seed=1)
    other.load_state_dict(load_file(tmp_path / "loss.safetensors"))
    assert train(loss, labels, 3, first=4) == train(other, labels, 3, first=4)
    for key, value in loss.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_first_codes_are_of_their_seed(method):
    plain, same, other = (method(SINGLE, BITS, CLASSES, **seed).codes for seed in ({}, {"seed": 0}, {"seed": 1}))
    assert torch.equal(plain, same)
    assert not torch.equal(plain, other)


def test_codes_of_an_epoch_without_items_stay_bits(method):
    for labels in (SINGLE, SEVERAL):
        loss = method(labels, BITS, CLASSES)
        for _ in range(3):
            loss.end_epoch()
        assert set(loss.codes.unique().tolist()) == {-1, 1}
        loss(U[BATCH].float(), labels[BATCH], BATCH)
        for _ in range(3):
            loss.end_epoch()
        assert set(loss.codes.unique().tolist()) == {-1, 1}


def test_evaluation_keeps_nothing(method):
    loss = method(SINGLE, BITS, CLASSES)
    train(loss, SINGLE, 1)
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    loss.eval()(U[BATCH].float(), SINGLE[BATCH], BATCH)
    assert all(torch.equal(value, state[key]) for key, value in loss.state_dict().items())


def test_all_pairs_similar(method):
    loss = method(torch.zeros(N, dtype=torch.int64), BITS, 2)
    assert math.isfinite(loss(U.float(), torch.zeros(N, dtype=torch.int64), torch.arange(N)))
    for _ in range(3):
        loss.end_epoch()
    assert set(loss.codes.unique().tolist()) == {-1, 1}


def test_low_precision_outputs_are_summed_in_full(method):
    loss = method(SINGLE, BITS, CLASSES)
    rounded = U.bfloat16()
    expected = loss(rounded.float(), SINGLE, torch.arange(N))
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(rounded, SINGLE, torch.arange(N))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=5e-3, atol=0)
    assert loss.outputs.dtype == torch.float32


def test_half_precision_holds_a_large_training_set(method):
    """Whose sums over pairs and over items it could not."""
    labels = torch.arange(70_000) % 10
    loss, u = method(labels, 16, 10).half(), torch.randn(64, 16).half().requires_grad_()
    expected = method(labels, 16, 10)
    for each in (loss, expected):
        each.train()
        each(u.to(each.codes.dtype), labels[:64], torch.arange(64))
    for _ in range(3):
        loss.end_epoch()
        expected.end_epoch()
    indices = torch.arange(100, 164)
    value = loss(u, labels[indices], indices)
    (gradient,) = torch.autograd.grad(value, u)
    assert gradient.isfinite().all()
    torch.testing.assert_close(value.float(), expected(u.float(), labels[indices], indices), rtol=0.02, atol=0)


@LABELS
def test_everything_kept_moves_with_the_module(method, labels):
    loss = method(labels, BITS, CLASSES)
    assert {buffer.device.type for buffer in loss.to("meta").buffers()} == {"meta"}
    if torch.cuda.is_available():
        there = method(labels, BITS, CLASSES).to("cuda")
        here = method(labels, BITS, CLASSES)
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


def test_no_step_holds_all_pairs(method):
    """Of 50,000 items all pairs are 10 GB of float32; of 4,000 distinct sets of labels they are four blocks."""
    generator = torch.Generator().manual_seed(0)
    sets = torch.randperm(2**14, generator=generator)[:4000, None] >> torch.arange(14) & 1
    for labels, n_classes in ((torch.randint(0, 10, (50_000,), generator=generator), 10), (sets, 14)):
        with Largest() as largest:
            loss = method(labels, 16, n_classes)
            rows = torch.randperm(len(labels), generator=generator)[:500]
            u = torch.randn(500, 16, generator=generator, requires_grad=True)
            loss(u, labels[rows], rows).backward()
            for _ in range(3):
                loss.end_epoch()
        assert largest.elements <= MAX_CELLS


@LABELS
def test_training_draws_similar_items_together(method, labels):
    torch.manual_seed(0)
    u = torch.nn.Parameter(torch.randn(N, 16) * 0.1)
    settings = {"gamma": 1.0} if method is losses.ADSH else {}  # 200 is for many more items
    loss = method(labels, 16, CLASSES, **settings)
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
        (lambda loss: type(loss)(SINGLE, 0, 4), ValueError, "expected n_bits from 1 to 4096, got 0"),
    ],
)
def test_bad_input_changes_nothing(method, call, error, message):
    loss = method(SINGLE, BITS, CLASSES)
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    with pytest.raises(error, match=f"{method.__name__}: {message}"):
        call(loss)
    assert all(torch.equal(value, state[key]) for key, value in loss.state_dict().items())


@pytest.mark.parametrize("method", [losses.ADSH, losses.DSDH])
def test_first_codes_do_not_depend_on_torchs_defaults(method):
    expected = method(SINGLE, BITS, CLASSES)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            loss = method(SINGLE, BITS, CLASSES)
    finally:
        torch.set_default_dtype(torch.float32)
    for name in ("codes", "outputs"):
        found, wanted = getattr(loss, name), getattr(expected, name)
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)
