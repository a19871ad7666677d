"""What every hasher is: an affine map fitted to data, whose signs are the code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from fasthash.errors import MAX_BITS, check_integer, check_matrix, dtype_name
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.packing import pack_bits

_FORMAT = "fasthash hasher 1"


class Hasher(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Base of the hashers. The code of x is the signs of `(x - mean_) @ projection_`.

    A subclass has `n_bits` among its parameters and defines `_fit`.

    Attributes:
        mean_: float32 [d], set by `fit`.
        projection_: float32 [d, n_bits], set by `fit`.
        n_features_in_: d, set by `fit`.
    """

    n_bits: int
    mean_: torch.Tensor
    projection_: torch.Tensor
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
        x = _embeddings(where, X)
        if x.shape[0] == 0 or x.shape[1] == 0:
            raise ValueError(f"{where}: expected X with at least one row and one column, got {list(x.shape)}")
        if not torch.isfinite(x).all():
            row, column = (~torch.isfinite(x)).nonzero()[0].tolist()
            raise ValueError(
                f"{where}: expected X to be finite, got {x[row, column].item()} at row {row}, column {column}"
            )
        check_integer(where, "n_bits", self.n_bits, 1, MAX_BITS)
        mean, projection = self._fit(where, x)
        self.mean_ = mean.to("cpu", torch.float32)
        self.projection_ = projection.to("cpu", torch.float32).contiguous()
        self.n_features_in_ = x.shape[1]
        return self

    def _fit(self, where: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean [d] and the projection [d, n_bits] for float32 `x` [n, d]."""
        raise NotImplementedError

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
        check_is_fitted(self)
        where = f"{type(self).__name__}.transform"
        x = _embeddings(where, X)
        if x.shape[1] != self.n_features_in_:
            raise ValueError(f"{where}: expected X with {self.n_features_in_} columns, as fitted, got {x.shape[1]}")
        return as_given((x - self.mean_.to(x.device)) @ self.projection_.to(x.device), X)

    def encode(self, X: Array) -> Array:
        """Return the packed codes of embeddings.

        Args:
            X: [n, d] of any floating-point dtype, on any device.

        Returns:
            uint8 [n, ceil(n_bits / 8)] as `fasthash.pack_bits` has it, a tensor if `X` is one, else a NumPy array.

        Raises:
            sklearn.exceptions.NotFittedError: before `fit`.
            TypeError: if `X` is not floating-point.
            ValueError: if `X` is not as wide as the embeddings that were fitted, or holds a NaN.
        """
        return pack_bits(self.transform(X))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and fitted state to a safetensors file, whole or not at all."""
        check_is_fitted(self)
        metadata = {"format": _FORMAT, "class": type(self).__name__, "parameters": json.dumps(self.get_params())}
        target = Path(path)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            save_file({"mean": self.mean_, "projection": self.projection_}, unfinished, metadata)
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)

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
                mean, projection = file.get_tensor("mean"), file.get_tensor("projection")
        except SafetensorError as error:
            raise ValueError(
                f"{where}: expected a safetensors file of a hasher at {os.fspath(path)}: {error}"
            ) from None
        classes = {known.__name__: known for known in [cls, *cls.__subclasses__()]}
        if metadata["class"] not in classes:
            raise ValueError(f"{where}: expected a file of {' or '.join(classes)}, got one of {metadata['class']}")
        hasher: Hasher = classes[metadata["class"]](**json.loads(metadata["parameters"]))
        hasher.mean_, hasher.projection_, hasher.n_features_in_ = mean, projection, projection.shape[0]
        return hasher


def _embeddings(where: str, X: Array) -> torch.Tensor:
    x = to_tensor(where, "X", X)
    if not x.is_floating_point():
        raise TypeError(f"{where}: expected X of a floating-point dtype, got {dtype_name(x)}")
    check_matrix(where, "X", x, "d")
    return x.detach().to(torch.float32)


def signs(x: torch.Tensor) -> torch.Tensor:
    """Return -1 or +1 as `pack_bits` reads it: zero is negative."""
    return (x > 0).to(x.dtype) * 2 - 1


def principal_axes(x: torch.Tensor, n_axes: int) -> torch.Tensor:
    """Return the `n_axes` directions of largest variance of centred `x` [n, d], as columns [d, n_axes]."""
    covariance = (x.T @ x).to(torch.float64)
    axes: torch.Tensor = torch.linalg.eigh(covariance).eigenvectors  # ascending
    return axes.flip(1)[:, :n_axes].to(x.dtype)
