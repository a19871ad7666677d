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


class Rotated(torch.nn.Module):
    """Every way to a rotation, in a network."""

    def __init__(self):
        super().__init__()
        self.linear, self.layer = torch.nn.Linear(8, 8), rotation(8, 5)

    def forward(self, x):
        u = self.layer(self.linear(x))
        return fh.householder_apply(u, self.layer.v, transpose=True) @ self.layer.matrix() + self.layer(x[0])


OTHER_ROWS = torch.randn(7, 8, generator=torch.Generator().manual_seed(0))
exporting = pytest.mark.skipif(not hasattr(torch.compiler, "is_exporting"), reason="torch cannot tell that it exports")


@exporting
@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_needs_no_fasthash(strict):
    network = Rotated()
    rows = {"x": {0: torch.export.Dim("rows", min=2)}}
    program = torch.export.export(network, (torch.randn(4, 8),), dynamic_shapes=rows, strict=strict)
    assert not [node for node in program.graph.nodes if "fasthash" in str(node.target)]
    torch.testing.assert_close(program.module()(OTHER_ROWS), network(OTHER_ROWS))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of the checks, which look at shapes
@pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("with_gradient", [False, True])
def test_a_traced_network_is_the_network(with_gradient):
    network = Rotated()
    with torch.set_grad_enabled(with_gradient):
        traced = torch.jit.trace(network, torch.randn(4, 8))
    assert "fasthash::" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(OTHER_ROWS), network(OTHER_ROWS))
    gradients = [torch.autograd.grad(f(OTHER_ROWS).cos().sum(), network.layer.v)[0] for f in (traced, network)]
    torch.testing.assert_close(*gradients)


@exporting
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of what inductor imports
def test_a_network_is_compiled_ahead_of_time(tmp_path):
    network = Rotated().eval()
    program = torch.export.export(network, (torch.randn(7, 8),))
    package = torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "network.pt2"))
    torch.testing.assert_close(torch._inductor.aoti_load_package(package)(OTHER_ROWS), network(OTHER_ROWS))


@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
)  # the exporters'
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("dynamo", [pytest.param(True, marks=exporting), False], ids=["dynamo", "tracing"])
def test_exports_to_onnx(dynamo):
    pytest.importorskip("onnxscript")
    onnx, reference = pytest.importorskip("onnx"), pytest.importorskip("onnx.reference")
    network, file = Rotated().eval(), io.BytesIO()
    if dynamo:
        torch.onnx.export(network, (OTHER_ROWS,), dynamo=True).save(file)
    else:
        torch.onnx.export(network, (OTHER_ROWS,), file, dynamo=False)
    model = onnx.load_from_string(file.getvalue())
    (y,) = reference.ReferenceEvaluator(model).run(None, {model.graph.input[0].name: OTHER_ROWS.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), network(OTHER_ROWS).detach(), atol=1e-5, rtol=1e-5)


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


def test_a_generators_rotation_does_not_depend_on_torchs_default_device():
    for init in ("random", "identity"):
        expected = rotation(6, init=init)
        with torch.device("meta"):
            assert rotation(6, init=init).v.device.type == "meta"
            assert torch.equal(rotation(6, init=init, device="cpu").v, expected.v)
