"""What holds for every loss: those of its file, `tests/losses/test_<loss>.py`, say what it should return.

There `make(labels, **settings)` is a loss for the batch of conftest.py; `similarity(u, labels, loss)` and
`original(u, loss)` are its two terms in float64, from the paper's formulas.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
from pathlib import Path

import pytest
import torch

from fasthash import losses
from tests.conftest import DEVICE
from tests.losses.conftest import BITS, CLASSES, INDICES, SEVERAL, SINGLE, N, U

NAMES = [
    name
    for name in losses.__all__
    if inspect.isclass(method := getattr(losses, name))
    and issubclass(method, losses.HashingLoss)
    and method is not losses.HashingLoss
]
OF_THE_BATCH = [name for name in NAMES if not getattr(losses, name).needs_indices]
WITH_CLASSES = [name for name in NAMES if "n_classes" in inspect.signature(getattr(losses, name)).parameters]
SMOOTH = [name for name in NAMES if name not in ("DBDH", "GreedyHash")]  # which pass gradients through signs
LABELS = pytest.mark.parametrize("labels", [SINGLE, SEVERAL], ids=["single", "several"])


@pytest.fixture(params=NAMES)
def method(request):
    return importlib.import_module(f"tests.losses.test_{request.param.lower()}")


def made(method, labels, **settings):
    """The same loss every time, in float64."""
    torch.manual_seed(0)
    return method.make(labels, **settings).double()


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_has_a_file_of_tests_with_its_formulas(name):
    path = Path(__file__).with_name(f"test_{name.lower()}.py")
    assert path.exists(), f"{name} has no tests: write {path}, as {Path(__file__).name} says"
    tests = importlib.import_module(f"tests.losses.{path.stem}")
    lacking = [function for function in ("make", "similarity", "original") if not hasattr(tests, function)]
    assert not lacking, f"{path} lacks {', '.join(lacking)}"
    assert type(tests.make(SINGLE)) is getattr(losses, name)


@LABELS
def test_similarity_is_its_formula(method, labels):
    loss = made(method, labels, quantization="none")
    expected = method.similarity(U.numpy(), labels, loss)
    assert loss(U, labels, INDICES).item() == pytest.approx(expected, rel=1e-9)


def test_quantisation_terms_are_their_formulas(method):
    alone, original, hswd, swd = (
        made(method, SINGLE, quantization=quantization) for quantization in ("none", "original", "hswd", "swd")
    )
    similarity = alone(U, SINGLE, INDICES)
    expected = torch.as_tensor(method.original(U.numpy(), original)).double()
    torch.testing.assert_close(original(U, SINGLE, INDICES) - similarity, expected)
    torch.testing.assert_close(hswd(U, SINGLE, INDICES) - similarity, 0.1 * losses.HSWD()(U))
    most = losses.SlicedWasserstein(20_000)(U, torch.cat([torch.ones(1, BITS), -torch.ones(1, BITS)]).double())
    assert 0 < swd(U, SINGLE, INDICES) - similarity < 0.1 * 3 * most
    heavy = made(method, SINGLE, quantization="hswd", quantization_weight=2.0)
    assert heavy.quantization_weight == 2
    torch.testing.assert_close(heavy(U, SINGLE, INDICES) - similarity, 2 * losses.HSWD()(U))


@LABELS
@pytest.mark.parametrize("quantization", ["original", "none", "hswd"])
def test_the_terms_are_those_of_the_loss(method, labels, quantization):
    loss, again = (made(method, labels, quantization=quantization, quantization_weight=0.3) for _ in range(2))
    terms = loss.terms(U, labels, INDICES)
    torch.testing.assert_close(terms.similarity, made(method, labels, quantization="none")(U, labels, INDICES))
    weighted = 0 if terms.quantization is None else 0.3 * terms.quantization
    torch.testing.assert_close(again(U, labels, INDICES), terms.similarity + weighted)
    if quantization == "none":
        assert terms.quantization is None
    if quantization == "hswd":
        torch.testing.assert_close(terms.quantization, losses.HSWD()(U))
    weightless = made(method, labels, quantization=quantization, quantization_weight=0.0)
    assert weightless.terms(U, labels, INDICES).quantization is None


class Stretched(torch.nn.Module):
    """A term of somebody's own, with a weight to be trained."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor([0.5, 2.0]))

    def forward(self, u):
        return (u * self.scale.repeat(BITS // 2) - u.sign()).square().mean()


def to_the_sign(u):
    return (u - u.sign()).abs().sum(1).mean()


def term_name(term):
    return getattr(term, "__name__", str(term))


@pytest.mark.parametrize("own", [Stretched(), to_the_sign, losses.HSWD(p=1), losses.LogCosh()], ids=term_name)
def test_a_term_of_your_own_stands_for_the_original(method, own):
    alone, loss = (made(method, SINGLE, quantization=quantization) for quantization in ("none", own))
    assert loss.quantizer is own
    assert (loss.quantization, loss.quantization_weight) == ("own", 0.1)
    similarity = alone(U, SINGLE, INDICES)
    torch.testing.assert_close(loss(U, SINGLE, INDICES) - similarity, 0.1 * own(U))
    heavy = made(method, SINGLE, quantization=own, quantization_weight=3)
    torch.testing.assert_close(heavy(U, SINGLE, INDICES) - similarity, 3 * own(U))


def test_a_module_of_your_own_is_a_part_of_the_loss(method):
    loss = made(method, SINGLE, quantization=Stretched())
    assert dict(loss.named_parameters())["quantizer.scale"] is loss.quantizer.scale
    loss(U, SINGLE, INDICES).backward()
    assert loss.quantizer.scale.grad.abs().min() > 0
    with torch.no_grad():
        loss.quantizer.scale += 1
    loss.end_epoch()
    other = made(method, SINGLE, quantization=Stretched())
    other.load_state_dict(loss.state_dict())
    for copied in (other, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert copied(U, SINGLE, INDICES) == loss(U, SINGLE, INDICES)
    again = pickle.loads(pickle.dumps(made(method, SINGLE, quantization=to_the_sign)))
    assert again.quantizer is to_the_sign


@pytest.mark.parametrize(
    ("own", "error", "message"),
    [
        (losses.HSWD, TypeError, "to be a name, a module or a function, got the class HSWD"),
        (3, ValueError, "to be one of 'original', .*, got 3"),
        (lambda u: 1.0, TypeError, "to return a scalar tensor, got float"),
        (lambda u: u.square().mean(1), ValueError, r"to return a scalar, got \[6\]"),
    ],
    ids=["class", "number", "float", "a value an item"],
)
def test_what_is_no_quantisation_term(method, own, error, message):
    name = type(method.make(SINGLE)).__name__
    with pytest.raises(error, match=f"^{name}: expected quantization {message}$"):
        made(method, SINGLE, quantization=own)(U, SINGLE, INDICES)


def test_original_is_the_default(method):
    assert made(method, SINGLE)(U, SINGLE, INDICES) == made(method, SINGLE, quantization="original")(U, SINGLE, INDICES)
    assert "quantization='original', quantization_weight=" in repr(made(method, SINGLE))


@pytest.mark.parametrize("method", SMOOTH, indirect=True)
@pytest.mark.parametrize(
    "quantization", ["original", "hswd", losses.HSWD(p=3), to_the_sign, Stretched()], ids=term_name
)
def test_gradients(method, quantization):
    loss = made(method, SEVERAL, quantization=quantization).eval()
    assert torch.autograd.gradcheck(lambda u: loss(u, SEVERAL, INDICES), (U.clone().requires_grad_(),), atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "others"),
    [
        (SINGLE, SINGLE.int()),
        (SINGLE, SINGLE.to(torch.uint8)),
        (SEVERAL, SEVERAL.bool()),
        (SEVERAL, SEVERAL.to(torch.uint8)),
        (SINGLE, torch.nn.functional.one_hot(SINGLE, CLASSES)),
    ],
    ids=["int32", "uint8", "several of bool", "several of uint8", "one of several"],
)
def test_labels_of_several_kinds(method, labels, others):
    expected = made(method, labels)(U, labels, INDICES)
    torch.testing.assert_close(made(method, others)(U, others, INDICES), expected, rtol=1e-12, atol=0)


def test_labels_may_have_a_pending_sign(method):
    pending = torch._neg_view(-SINGLE)
    expected = made(method, SINGLE)(U, SINGLE, INDICES)
    torch.testing.assert_close(made(method, SINGLE)(U, pending, INDICES), expected, rtol=1e-12, atol=0)


@LABELS
def test_the_order_of_items_is_nothing(method, labels):
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    loss = made(method, labels)
    expected = loss(U, labels, INDICES)
    torch.testing.assert_close(loss(U[order], labels[order], INDICES[order]), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("quantization", ["original", "hswd", "swd"])
def test_half_precision_outside_autocast(method, dtype, quantization):
    """Of outputs alone, and of the loss too; the numbers are those of single precision but for its rounding."""
    torch.manual_seed(0)
    loss = method.make(SINGLE, quantization=quantization).eval()
    u = U.to(dtype).requires_grad_()
    torch.manual_seed(1)
    value = loss(u, SINGLE, INDICES)
    torch.manual_seed(1)
    expected = loss(u.detach().float(), SINGLE, INDICES)
    torch.testing.assert_close(value.float(), expected, atol=0.02, rtol=0.02)
    (gradient,) = torch.autograd.grad(value, u)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()
    halved = loss.to(dtype).train()
    assert halved(u, SINGLE, INDICES).isfinite()
    halved.end_epoch()


def test_outputs_that_are_nan_make_the_loss_nan(method):
    """Not the finite one of the bits that a comparison would make of them."""
    loss = method.make(SINGLE, quantization="none")
    u = torch.full((N, BITS), torch.nan, requires_grad=True)
    assert loss(u, SINGLE, INDICES).isnan()


def test_gradients_under_torch_func(method):
    loss = method.make(SINGLE).double().eval()
    u = U.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(u, SINGLE, INDICES), u)

    def of(u):
        return loss(u, SINGLE, INDICES)

    torch.testing.assert_close(torch.func.grad(of)(U), expected)
    both = torch.vmap(torch.func.grad(of))(torch.stack([U, U.flip(0)]))
    torch.testing.assert_close(both[0], expected)
    torch.testing.assert_close(both[1], torch.func.grad(of)(U.flip(0)))


def test_extreme_outputs_stay_finite(method):
    loss = method.make(SINGLE)
    for u in (torch.zeros(N, BITS), torch.full((N, BITS), 50.0), torch.randn(N, BITS) * 1e4, torch.ones(N, BITS)):
        u.requires_grad_()
        value = loss(u, SINGLE, INDICES)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(u.grad).all()
        loss.end_epoch()
    one = loss(torch.randn(1, BITS), SINGLE[:1], INDICES[:1])  # a batch without a dissimilar pair
    assert torch.isfinite(one)


@pytest.mark.parametrize("method", OF_THE_BATCH, indirect=True)
def test_losses_of_the_batch_alone_ignore_indices(method):
    loss = made(method, SINGLE)
    state = {key: value.clone() for key, value in loss.state_dict().items()}
    loss.end_epoch()
    assert all(torch.equal(value, state[key]) for key, value in loss.state_dict().items())
    assert loss(U, SINGLE) == loss(U, SINGLE, INDICES)


def test_a_loss_is_its_state(method):
    loss = made(method, SINGLE)
    loss(U, SINGLE, INDICES)
    loss.end_epoch()
    other = method.make(SINGLE).double()
    other.load_state_dict(loss.state_dict())
    assert other(U, SINGLE, INDICES) == loss(U, SINGLE, INDICES)


@LABELS
def test_everything_moves_with_the_module(method, labels):
    moved = method.make(labels).to("meta")
    assert {x.device.type for x in (*moved.buffers(), *moved.parameters())} <= {"meta"}
    if DEVICE == "cuda":
        here, there = made(method, labels), made(method, labels).to("cuda")
        expected = here(U, labels, INDICES)
        torch.testing.assert_close(there(U.cuda(), labels.cuda(), INDICES.cuda()).cpu(), expected)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda make: make()(U, SINGLE.float(), INDICES), TypeError, "labels of an integer dtype or bool, got float32"),
        (lambda make: make()(U, SINGLE[:2], INDICES), ValueError, r"labels of shape \[6\] or \[6, c\], got \[2\]"),
        (
            lambda make: make()(U, SINGLE[None, None], INDICES),
            ValueError,
            r"labels of shape \[6\] or \[6, c\], got \[1",
        ),
        (
            lambda make: make()(U, SINGLE, (INDICES, INDICES)),
            TypeError,
            "indices to be a tensor, got a tuple; a miner's",
        ),
        (lambda make: make()(U, SINGLE, INDICES.float()), TypeError, "indices of dtype int64, got float32"),
        (lambda make: make()(U, SINGLE, INDICES[:2]), ValueError, r"indices of shape \[6\], got \[2\]"),
        (lambda make: make()(U[0], SINGLE, INDICES), ValueError, r"u of shape \[n, n_bits\], got \[8\]"),
        (lambda make: make()(U.int(), SINGLE, INDICES), TypeError, "u of a floating-point dtype, got int32"),
        (
            lambda make: make(quantization="l2"),
            ValueError,
            "quantization to be one of 'original', 'none', .*, got 'l2'",
        ),
        (lambda make: make(quantization_weight=-1), ValueError, "quantization_weight at least 0 and finite, got -1"),
    ],
)
def test_bad_input(method, call, error, message):
    with pytest.raises(error, match=f"^{type(method.make(SINGLE)).__name__}: expected {message}"):
        call(lambda **settings: method.make(SINGLE, **settings))


@pytest.mark.parametrize("method", WITH_CLASSES, indirect=True)
def test_labels_beyond_the_classes(method):
    loss = method.make(SINGLE)
    name = type(loss).__name__
    for labels, got in ((SINGLE + 1, "1 to 3"), (SINGLE - 1, "-1 to 1")):
        with pytest.raises(ValueError, match=f"{name}: expected labels from 0 to 2, got {got}"):
            loss(U, labels, INDICES)
    with pytest.raises(ValueError, match=f"{name}: expected labels of (3 columns, got 2|1 dimensions)"):
        loss(U, SEVERAL[:, :2], INDICES)


@pytest.mark.parametrize(
    "name", [name for name in WITH_CLASSES if name != "CSQ"]
)  # whose limits are those of its codes
@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ({"n_bits": 0}, ValueError, "n_bits from 1 to 4096, got 0"),
        ({"n_bits": 2.0}, TypeError, "n_bits to be an integer, got float"),
        ({"n_classes": 1}, ValueError, "n_classes from 2 to 2147483647, got 1"),
        ({"n_classes": 2.0}, TypeError, "n_classes to be an integer, got float"),
    ],
    ids=str,
)
def test_sizes(name, sizes, error, message):
    method, labels = getattr(losses, name), torch.tensor([0, 1, 0, 1, 0, 1])
    least = {"n_bits": 1, "n_classes": 2} | ({"labels": labels} if method.needs_indices else {})
    assert torch.isfinite(method(**least).double()(U[:, :1], labels, INDICES))
    with pytest.raises(error, match=f"^{name}: expected {message}$"):
        method(**least | sizes)
