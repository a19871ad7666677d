from __future__ import annotations

import io

import pytest
import torch

import fasthash as fh
from fasthash.layers import HouseholderRotation


def rotation(*arguments, seed=0, **options):
    return HouseholderRotation(*arguments, generator=torch.Generator().manual_seed(seed), **options)


@pytest.mark.parametrize(("k", "l"), [(1, 1), (2, 1), (7, 7), (16, 16), (20, 6)])
def test_rotates_rows(k, l):
    layer, x = rotation(k, l), torch.randn(5, k)
    u = layer.matrix()
    torch.testing.assert_close(u @ u.T, torch.eye(k))
    torch.testing.assert_close(layer(x), x @ u.T)
    torch.testing.assert_close(layer(x[0]), u @ x[0])
    torch.testing.assert_close(layer(x.view(5, 1, k).expand(5, 3, k))[:, 2], x @ u.T)
    assert repr(layer) == f"HouseholderRotation(k={k}, n_reflections={l})"


def test_random_rotations_have_no_preferred_direction():
    corners = torch.stack([rotation(6, seed=seed).matrix().detach().square() for seed in range(500)])
    torch.testing.assert_close(corners.mean(0), torch.full((6, 6), 1 / 6), atol=0.04, rtol=0)
    assert torch.equal(rotation(6).v, rotation(6).v)


def test_identity():
    layer = rotation(9, 4, init="identity", dtype=torch.float64)
    torch.testing.assert_close(layer.matrix(), torch.eye(9, dtype=torch.float64))
    layer(torch.randn(3, 9, dtype=torch.float64)).cos().sum().backward()
    assert (layer.v.grad.norm(dim=1) > 1e-3).all()  # and it can leave it


def test_learns_and_stays_orthogonal():
    x, target = torch.randn(64, 8), rotation(8, seed=1).matrix().detach()
    layer = rotation(8)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = (layer(x) - x @ target.T).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 100
    u = layer.matrix()
    torch.testing.assert_close(u @ u.T, torch.eye(8))


def test_other_dtypes_than_the_parameters():
    layer, x = rotation(8), torch.randn(4, 8)
    expected = layer(x)
    assert layer(x.double()).dtype == torch.float64
    half = layer(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, atol=0.05, rtol=0.05)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(torch.nn.Linear(8, 8)(x)).sum().backward()
    assert layer.v.grad.dtype == torch.float32


@pytest.mark.parametrize("bias", [True, False])
def test_folds_into_the_layer_before(bias):
    layer, linear, x = rotation(8), torch.nn.Linear(5, 8, bias=bias), torch.randn(4, 5)
    folded = layer.fold_into(linear)
    torch.testing.assert_close(folded(x), layer(linear(x)))
    assert (folded.bias is not None) == bias
    assert folded.weight.requires_grad
    with pytest.raises(ValueError, match="expected a Linear with 8 outputs, got 7"):
        layer.fold_into(torch.nn.Linear(5, 7))


def test_is_saved_and_compiled():
    torch.compiler.reset()
    layer, x = rotation(8, 3), torch.randn(4, 8)
    expected = layer(x)
    other = HouseholderRotation(8, 3)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), expected)
    torch.testing.assert_close(torch.compile(layer, backend="aot_eager", fullgraph=True)(x), expected)


def test_exports():
    layer, x = rotation(8), torch.randn(4, 8)
    linear = layer.as_linear()
    torch.testing.assert_close(linear(x), layer(x))
    for module in (linear, layer):
        program = torch.export.export(torch.nn.Sequential(module, torch.nn.Tanh()), (x,))
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        torch.testing.assert_close(torch.export.load(file).module()(x), layer(x).tanh())


@pytest.mark.filterwarnings("ignore::FutureWarning")  # inside the exporter
def test_exports_to_onnx():
    pytest.importorskip("onnxscript")
    reference = pytest.importorskip("onnx.reference")
    layer, x = rotation(8), torch.randn(4, 8)
    model = torch.onnx.export(layer.as_linear().eval(), (x,), dynamo=True).model_proto
    (y,) = reference.ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), layer(x).detach())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, ValueError, "expected k from 1 to 536870912, got 0"),
        ({"k": 2.5}, TypeError, "expected k to be an integer, got float"),
        ({"k": 4, "n_reflections": 5}, ValueError, "expected n_reflections from 1 to 4, got 5"),
        ({"k": 4, "init": "zero"}, ValueError, "expected init to be one of 'random', 'identity', got 'zero'"),
        ({"k": 3, "init": "identity"}, ValueError, "expected an even number of reflections for init 'identity', got 3"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match="HouseholderRotation: " + message):
        HouseholderRotation(**arguments)


def test_a_bad_input_is_named():
    with pytest.raises(ValueError, match=r"HouseholderRotation: expected x of shape \[\.\.\., 4\]"):
        fh.layers.HouseholderRotation(4)(torch.ones(2, 3))
