"""What every hasher is: projections fitted to embeddings, whose signs are the code."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fasthash.errors import MAX_BITS, check_floating, check_integer, check_matrix, check_values, dtype_name
from fasthash.hashers.names import HASHERS
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.packing.op import pack_bits_op
from fasthash.tensor_files import read_tensors, write_tensors

_FORMAT = "fasthash hasher 1"


class Hasher(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Base of the hashers.

    A subclass has `n_bits` among its parameters, names its fitted tensors with dtype and shape, and defines `_fit` and
    `_project`.

    Attributes:
        n_features_in_: d, set by `fit`.
    """

    # The attributes that `fit` sets and `save` writes, "float32 [d, n_bits]" say; any other word is a size of its own.
    TENSORS: ClassVar[Mapping[str, str]]

    n_bits: int
    n_features_in_: int

    def fit(self, X: Array, y: object = None) -> Hasher:
        """Fit to embeddings.

        Args:
            X: [n, d] of any floating-point dtype, finite, on any device.
            y: ignored; scikit-learn's pipelines pass it.

        Raises:
            TypeError: if `X` is not floating-point.
            ValueError: if `X` is not a finite matrix with at least one row, or a parameter does not fit it.
        """
        where = f"{type(self).__name__}.fit"
        x = _embeddings(where, X).to(torch.float32)
        if x.shape[0] == 0 or x.shape[1] == 0:
            raise ValueError(f"{where}: expected X with at least one row and one column, got {list(x.shape)}")
        if not torch.isfinite(x).all():
            row, column = (~torch.isfinite(x)).nonzero()[0].tolist()
            raise ValueError(
                f"{where}: expected X to be finite, got {x[row, column].item()} at row {row}, column {column}"
            )
        check_integer(where, "n_bits", self.n_bits, 1, MAX_BITS)
        for name, tensor in zip(self.TENSORS, self._fit(where, x), strict=True):
            setattr(self, name, tensor.cpu().contiguous())
        self.n_features_in_ = x.shape[1]
        return self

    def _fit(self, where: str, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what `TENSORS` names, for float32 `x` [n, d]; errors begin with `where`."""
        raise NotImplementedError

    def _project(self, x: torch.Tensor) -> torch.Tensor:
        """Return float32 [n, n_bits], whose signs are the bits, for float32 `x` [n, d]."""
        raise NotImplementedError

    def _encode(self, where: str, x: torch.Tensor) -> torch.Tensor:
        """Return the packed codes of floating-point `x` [n, d]; errors begin with `where`."""
        codes: torch.Tensor = pack_bits_op(self._project(x.to(torch.float32)), where=where)
        return codes

    def transform(self, X: Array) -> Array:
        """Return the projections whose signs are the bits.

        Args:
            X: [n, d] of any floating-point dtype, on any device.

        Returns:
            float32 [n, n_bits] on the device of `X`, a tensor if `X` is one, else a NumPy array.

        Raises:
            sklearn.exceptions.NotFittedError: before `fit`.
            TypeError: if `X` is not floating-point.
            ValueError: if `X` is not as wide as the embeddings that were fitted.
        """
        x = self._as_fitted(f"{type(self).__name__}.transform", X)
        return as_given(self._project(x.to(torch.float32)), X)

    def encode(self, X: Array) -> Array:
        """Return the packed codes of embeddings.

        Args:
            X: [n, d] of any floating-point dtype, on any device.

        Returns:
            uint8 [n, ceil(n_bits / 8)] as `fasthash.pack_bits` has it, a tensor if `X` is one, else a NumPy array.

        Raises:
            sklearn.exceptions.NotFittedError: before `fit`.
            TypeError: if `X` is not floating-point.
            ValueError: if `X` is not as wide as the embeddings that were fitted, or a projection is NaN.
        """
        where = f"{type(self).__name__}.encode"
        return as_given(self._encode(where, self._as_fitted(where, X)), X)

    def _as_fitted(self, where: str, X: Array) -> torch.Tensor:
        check_is_fitted(self)
        x = _embeddings(where, X)
        if x.shape[1] != self.n_features_in_:
            raise ValueError(f"{where}: expected X with {self.n_features_in_} columns, as fitted, got {x.shape[1]}")
        return x

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and fitted state to a safetensors file with a checksum, whole or not at all."""
        check_is_fitted(self)
        metadata = {
            "format": _FORMAT,
            "class": type(self).__name__,
            "parameters": json.dumps(self.get_params()),
            "n_features_in": str(self.n_features_in_),
        }
        write_tensors(path, metadata, {name: getattr(self, name) for name in self.TENSORS})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Hasher:
        """Read a hasher that `save` wrote. `Hasher.load` reads any; a subclass's reads only its own.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is not a hasher's, is another class's or is damaged, or what is in it does not fit
                together.
        """
        expected = f"{cls.__name__}.load: expected a file of {cls.__name__} at {os.fspath(path)}, got"
        metadata, tensors = read_tensors(expected, path, _FORMAT, ["class", "parameters", "n_features_in"])
        for declared in (False, True):
            HASHERS.load_all(declared)
            classes = {known.__name__: known for known in _with_subclasses(cls)}
            if metadata["class"] in classes:
                break
        else:
            raise ValueError(f"{expected} one of {metadata['class']}, where {' or '.join(classes)} is read")
        try:
            hasher: Hasher = classes[metadata["class"]](**json.loads(metadata["parameters"]))
            hasher.n_features_in_ = int(metadata["n_features_in"])
            if tensors.keys() != hasher.TENSORS.keys():
                raise ValueError(f"its tensors are {', '.join(sorted(tensors))}")
            for name, tensor in tensors.items():
                setattr(hasher, name, tensor)
            hasher._check_state()
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{expected} one that is damaged: {error}") from error
        return hasher

    def _check_state(self) -> None:
        """Raise a ValueError that says what of the parameters and the fitted state does not fit together."""
        where = type(self).__name__
        sizes = {
            "d": check_integer(where, "n_features_in", self.n_features_in_, 1),
            "n_bits": check_integer(where, "n_bits", self.n_bits, 1, MAX_BITS),
        }
        for name, described in self.TENSORS.items():
            tensor = getattr(self, name)
            dtype, _, letters = described.rstrip("]").partition(" [")
            dimensions = letters.split(", ") if letters else []
            fits = dtype_name(tensor) == dtype and tensor.ndim == len(dimensions)
            if not fits or any(sizes.setdefault(x, n) != n for x, n in zip(dimensions, tensor.shape, strict=True)):
                known = ", ".join(f"{letter} = {size}" for letter, size in sizes.items())
                raise ValueError(f"{name} is {dtype_name(tensor)} {list(tensor.shape)}, not {described} with {known}")
            if not tensor.isfinite().all():
                raise ValueError(f"{name} is not finite")


def _with_subclasses(cls: type[Hasher]) -> Iterator[type[Hasher]]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _with_subclasses(subclass)


def _embeddings(where: str, X: Array) -> torch.Tensor:
    x = to_tensor(where, "X", X)
    check_floating(where, "X", x, minimum_bytes=1)
    check_matrix(where, "X", x, "d")
    check_values(where, "X", x)
    return x.detach()


def principal_axes(x: torch.Tensor, n_axes: int) -> torch.Tensor:
    """Return the `n_axes` directions of largest variance of centred `x` [n, d], as columns [d, n_axes]."""
    covariance = (x.T @ x).to(torch.float64)
    axes: torch.Tensor = torch.linalg.eigh(covariance).eigenvectors  # ascending
    return axes.flip(1)[:, :n_axes].to(x.dtype)
