"""What every hasher is: projections fitted to embeddings, whose signs are the code."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import ClassVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fasthash.errors import MAX_BITS, check_floating, check_integer, check_matrix, check_values
from fasthash.files import replacing
from fasthash.hashers.names import HASHERS
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.packing.op import pack_bits_op

_FORMAT = "fasthash hasher 1"


class Hasher(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Base of the hashers.

    A subclass has `n_bits` among its parameters, names its fitted tensors, and defines `_fit` and `_project`.

    Attributes:
        n_features_in_: d, set by `fit`.
    """

    TENSORS: ClassVar[tuple[str, ...]]  # the attributes that `fit` sets and `save` writes

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
        """Write parameters and fitted state to a safetensors file, whole or not at all."""
        check_is_fitted(self)
        metadata = {
            "format": _FORMAT,
            "class": type(self).__name__,
            "parameters": json.dumps(self.get_params()),
            "n_features_in": str(self.n_features_in_),
        }
        with replacing(path) as file:
            save_file({name: getattr(self, name) for name in self.TENSORS}, file, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Hasher:
        """Read a hasher that `save` wrote. `Hasher.load` reads any; a subclass's reads only its own.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is not a hasher's, or is another class's.
        """
        where = f"{cls.__name__}.load"
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != _FORMAT:
                    raise ValueError(
                        f"{where}: expected a file in the format {_FORMAT!r}, got {metadata.get('format')!r}"
                    )
                for declared in (False, True):
                    HASHERS.load_all(declared)
                    classes = {known.__name__: known for known in _with_subclasses(cls)}
                    if metadata["class"] in classes:
                        break
                if metadata["class"] not in classes:
                    raise ValueError(
                        f"{where}: expected a file of {' or '.join(classes)}, got one of {metadata['class']}"
                    )
                hasher: Hasher = classes[metadata["class"]](**json.loads(metadata["parameters"]))
                for name in hasher.TENSORS:
                    setattr(hasher, name, file.get_tensor(name))
        except SafetensorError as error:
            raise ValueError(
                f"{where}: expected a safetensors file of a hasher at {os.fspath(path)}: {error}"
            ) from None
        hasher.n_features_in_ = int(metadata["n_features_in"])
        return hasher


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
