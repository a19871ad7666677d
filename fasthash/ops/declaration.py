"""The one declaration of an op: for eager calls, torch.compile and torch.export, and the derivatives of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fasthash.errors import memory_error
from fasthash.ops.registry import Kernel, default_kernel, function_for, is_transformed

LIBRARY: Any = torch.library.Library("fasthash", "FRAGMENT")  # type: ignore[no-untyped-call]


class RefusedError(ValueError):
    """What a kernel raises for values that no check before it can see; the op puts the user's function before it."""


@dataclass(frozen=True, eq=False)
class Gradient:
    """The first derivative of an op's first output; the other outputs are what the kernel keeps for it.

    Attributes:
        save: is given torch's `ctx`, the inputs and the outputs, and keeps by `ctx.save_for_backward` what `backward`
            needs. Each input that has a derivative must be among it, or the first output in its place: through them a
            second derivative is refused.
        backward: is given `ctx` and the gradient of the first output, and returns those of the first inputs, None where
            there is none. The ops it calls take `**ctx.options`, which are the kernel and the user's function.
    """

    save: Callable[[Any, tuple[Any, ...], tuple[torch.Tensor, ...]], None]
    backward: Callable[[Any, torch.Tensor], tuple[torch.Tensor | None, ...]]


@dataclass(frozen=True, eq=False)
class Op:
    """A function of tensors that are checked, as its schema has them, by the kernels of a room.

    Attributes:
        name: of the op in `torch.ops.fasthash`, and of the function in each kernel's module.
        kernels: the room's table.
        gradient: how it is differentiated, if it is.
        tensors: the places of its tensors among the inputs.
        leading: the place of the one that says on which device it runs.
        n_inputs: how many inputs it has.
        n_outputs: how many tensors it returns.
        is_told: whether its last input is `bool with_gradient`, which a call fills in: whether a derivative is wanted.
    """

    name: str
    kernels: Mapping[str, Kernel]
    gradient: Gradient | None
    tensors: tuple[int, ...]
    leading: int
    n_inputs: int
    n_outputs: int
    is_told: bool

    def __call__(self, *inputs: Any, kernel: str | None = None, where: str = "") -> Any:
        """Return what the named kernel computes, or the device's default one; with a gradient, the first output alone.

        While torch traces, or for a subclass of tensors, that is the registered op. Otherwise it is the kernel itself,
        which the op would come to by a way through Python that takes longer than a small kernel. Errors begin with
        `where`, the function that the user called, or else with the op.
        """
        where = where or self.name
        function, traced = function_for(self.kernels, self.name, inputs[self.leading], kernel, where)
        transformed = traced and is_transformed()
        wanted = transformed or (
            self.gradient is not None and torch.is_grad_enabled() and self._is_differentiated(inputs)
        )
        if self.is_told:
            inputs = (*inputs, wanted)
        try:
            if transformed:
                outputs = _Transformed.apply(*inputs, self, {"kernel": None, "where": where})  # type: ignore[no-untyped-call]
                return outputs[0] if self.gradient is not None or self.n_outputs == 1 else outputs
            if wanted and not traced:
                return _Eager.apply(*inputs, (self, function, {"kernel": kernel, "where": where}))  # type: ignore[no-untyped-call]
            outputs = function(*inputs)
        except RefusedError as refused:
            raise ValueError(f"{where}: {refused}") from None
        except (MemoryError, RuntimeError) as error:
            if (lacking := memory_error(where, error)) is None:
                raise
            raise lacking from None
        return outputs if self.gradient is None or self.n_outputs == 1 else outputs[0]

    def _is_differentiated(self, inputs: tuple[Any, ...]) -> bool:
        for place in self.tensors:
            x = inputs[place]
            if x is not None and x.requires_grad:
                return True
        return False


def declare(
    schema: str, kernels: Mapping[str, Kernel], fake: Callable[..., Any], gradient: Gradient | None = None
) -> Op:
    """Declare an op: register it with torch and return what calls it.

    Args:
        schema: name, inputs and outputs, as torch writes them. Every kernel's module has a function of that name. Where
            the last input is `bool with_gradient`, calls leave it out and kernels are told whether to keep what the
            backward pass needs.
        kernels: the room's table, of which the defaults of a CPU and of CUDA are registered.
        fake: returns empty tensors of the outputs' shapes and dtypes.
        gradient: how it is differentiated; without one a derivative is an error.
    """
    name = schema.partition("(")[0]
    LIBRARY.define(schema, tags=torch.Tag.pt2_compliant_tag)
    signature = getattr(torch.ops.fasthash, name).default._schema
    kinds = [str(argument.type) for argument in signature.arguments]
    tensors = tuple(place for place, kind in enumerate(kinds) if "Tensor" in kind)
    is_told = signature.arguments[-1].name == "with_gradient"
    op = Op(name, kernels, gradient, tensors, kinds.index("Tensor"), len(kinds), len(signature.returns), is_told)
    for device in ("cpu", "cuda"):
        if (default := default_kernel(kernels, torch.device(device))) is not None:
            LIBRARY.impl(name, _refusing(op, kernels[default]), device.upper())
    torch.library.register_fake(f"fasthash::{name}", fake, lib=LIBRARY)
    torch.library.register_vmap(f"fasthash::{name}", _one_by_one(name), lib=LIBRARY)

    if gradient is None:
        torch.library.register_autograd(f"fasthash::{name}", _refuse_derivative(name), lib=LIBRARY)
        return op
    keep = gradient.save

    def save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        outputs = output if op.n_outputs > 1 else (output,)
        ctx.mark_non_differentiable(*outputs[1:])
        ctx.op, ctx.options = op, {"kernel": None, "where": name}
        keep(ctx, inputs, outputs)

    def backward(ctx: Any, upstream: torch.Tensor, *_: Any) -> tuple[torch.Tensor | None, ...]:
        return _derivatives(ctx, upstream)

    torch.library.register_autograd(f"fasthash::{name}", backward, setup_context=save, lib=LIBRARY)
    return op


def _refusing(op: Op, kernel: Kernel) -> Callable[..., Any]:
    def run(*inputs: Any) -> Any:
        try:
            return kernel.function(op.name)(*inputs)
        except RefusedError as refused:
            raise ValueError(f"{op.name}: {refused}") from None

    return run


def _one_by_one(name: str) -> Callable[..., Any]:
    """Return what `torch.vmap` calls: the op for each of a batch."""

    def run(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> Any:
        op, given = getattr(torch.ops.fasthash, name), list(zip(inputs, in_dims, strict=True))
        results = [op(*(x if at is None else x.select(at, i) for x, at in given)) for i in range(info.batch_size)]
        if isinstance(results[0], torch.Tensor):
            return torch.stack(results), 0
        stacked = tuple(torch.stack(parts) for parts in zip(*results, strict=True))
        return stacked, (0,) * len(stacked)

    return run


def _refuse_forward_mode(ctx: Any, *_: Any) -> Any:
    raise RuntimeError(
        f"{ctx.options['where']}: expected derivatives in reverse mode, got forward mode; the kernels do not know it"
    )


def _refuse_derivative(name: str) -> Callable[..., Any]:
    def backward(*_: Any) -> Any:
        raise RuntimeError(f"{name}: expected no derivative to be taken, got one; the op has none")

    return backward


def _derivatives(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """Return the gradients in all inputs, whose own derivatives in the inputs are an error."""
    backward = ctx.op.gradient.backward
    if not torch.is_grad_enabled():
        gradients = backward(ctx, upstream)
    elif upstream.ndim == 0:  # a factor, in which the gradients have their derivatives
        slopes = backward(ctx, torch.ones_like(upstream))
        gradients = tuple(x if x is None else _of_op(ctx, x) * upstream for x in slopes)
    else:
        gradients = tuple(x if x is None else _of_op(ctx, x, upstream) for x in backward(ctx, upstream))
    return gradients + (None,) * (ctx.op.n_inputs - len(gradients))  # type: ignore[no-any-return]


def _of_op(ctx: Any, gradient: torch.Tensor, *upstream: torch.Tensor) -> torch.Tensor:
    return only_once(ctx.options["where"], gradient, *upstream, *ctx.saved_tensors)


def only_once(where: str, gradient: torch.Tensor, *inputs: torch.Tensor | None) -> torch.Tensor:
    """Return a gradient whose derivative is an error; without that it would silently be taken for zero.

    Args:
        where: the function, for the message.
        gradient: of the function.
        inputs: what it depends on.
    """
    return _OnlyOnce.apply(where, gradient, *inputs)  # type: ignore[no-any-return, no-untyped-call]


class _Eager(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> torch.Tensor:
        *inputs, (ctx.op, function, ctx.options) = arguments
        outputs = function(*inputs)
        if ctx.op.n_outputs == 1:
            outputs = (outputs,)
        ctx.op.gradient.save(ctx, tuple(inputs), outputs)
        return outputs[0]  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return *_derivatives(ctx, upstream), None

    jvp = staticmethod(_refuse_forward_mode)


class _Transformed(torch.autograd.Function):
    """The registered op under torch.func, whose transformations take no gradient of an op that is registered."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments: Any) -> tuple[torch.Tensor, ...]:
        op = arguments[-2]
        outputs = getattr(torch.ops.fasthash, op.name)(*arguments[:-2])
        return outputs if op.n_outputs > 1 else (outputs,)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        ctx.op, ctx.options = inputs[-2:]
        if ctx.op.gradient is not None:
            ctx.mark_non_differentiable(*output[1:])
            ctx.op.gradient.save(ctx, inputs[:-2], output)
        else:
            ctx.mark_non_differentiable(*(x for x in output if not x.is_floating_point()))

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, *_: Any) -> tuple[torch.Tensor | None, ...]:
        if ctx.op.gradient is None:
            _refuse_derivative(ctx.options["where"])()
        return *_derivatives(ctx, upstream), None, None

    jvp = staticmethod(_refuse_forward_mode)


class _OnlyOnce(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(where: str, gradient: torch.Tensor, *inputs: torch.Tensor | None) -> torch.Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        ctx.where = inputs[0]

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> Any:
        raise RuntimeError(
            f"{ctx.where}: expected one derivative to be taken, got a second; the kernels know only the first"
        )
