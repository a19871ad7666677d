"""What every hasher is: projections fitted to embeddings, whose signs are the code."""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fasthash.columns import feature_columns
from fasthash.errors import MAX_BITS, check_flag, check_integer, check_matrix, check_values, dtype_name
from fasthash.hashers.names import HASHERS
from fasthash.ops.arrays import Array, as_given, to_tensor
from fasthash.ops.autocast import autocast_off
from fasthash.ops.packing.op import pack_bits_op
from fasthash.tensor_files import read_tensors, write_tensors

_FORMAT = "fasthash hasher 1"
_LEAST = 2.0**-30  # of largest magnitudes that are not scaled
_FIELDS = ("class", "parameters", "n_features_in")


class Hasher(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # it has no types
    """Base of the hashers.

    A subclass has `n_bits` among its parameters, names its fitted tensors with dtype and shape, and defines `_fit` and
    `_project`. Of the hashers' parameters these have scikit-learn's meaning or make them fit it:

    - `random_state`: an integer, from 0; a `RandomState` of NumPy, from which `fit` draws; None, NumPy's global one.
    - `packed_output`: whether `transform` returns the packed codes of `encode`, as the last step of a `Pipeline` say.

    Attributes:
        n_features_in_: d, set by `fit`.
        feature_names_in_: of the columns, set by `fit` where `X` is a data frame whose columns have names; frames of
            other columns, or of these in another order, are then refused.
    """

    # The attributes that `fit` sets and `save` writes, "float32 [d, n_bits]" say; any other word is a size of its own.
    TENSORS: ClassVar[Mapping[str, str]]

    n_bits: int
    packed_output: bool = False
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def fit(self, X: Array, y: object = None) -> Hasher:
        """Fit to embeddings.

        Args:
            X: [n, d] of real numbers, finite, on any device; floating-point, integers, a data frame, or a
                column of lists, of Arrow, a Hugging Face data set or HDF5.
            y: ignored; scikit-learn's pipelines pass it.

        Raises:
            TypeError: if `X` is not of numbers, or sparse.
            ValueError: if `X` is not a finite matrix with at least one row, or sums of its rows and columns are beyond
                float32, or a parameter does not fit it.
        """
        where = f"{type(self).__name__}.fit"
        given = _embeddings(where, X)
        x = given.to(torch.float32)
        for count, what in zip(x.shape, ("sample", "feature"), strict=True):
            if count == 0:
                raise ValueError(
                    f"{where}: expected X with at least one row and one column, got 0 {what}(s) "
                    f"(shape={tuple(x.shape)}) while a minimum of 1 is required."
                )
        _check_magnitudes(where, given, x)
        check_integer(where, "n_bits", self.n_bits, 1, MAX_BITS)
        with autocast_off(x.device):
            fitted = self._fit(where, x)
        for name, tensor in zip(self.TENSORS, fitted, strict=True):
            setattr(self, name, tensor.cpu().contiguous())
        validate_data(self, _named(X, x), reset=True, skip_check_array=True)  # sets the number and names of the columns
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
        """Return the projections whose signs are the bits, or the packed codes where `packed_output` is True.

        Args:
            X: [n, d] as `fit` takes it, finite.

        Returns:
            float32 [n, n_bits] or uint8 [n, ceil(n_bits / 8)] on the device of `X`, a tensor if `X` is one, else a
            NumPy array, or what `set_output` says.

        Raises:
            sklearn.exceptions.NotFittedError: before `fit`.
            TypeError: if `X` is not of numbers, or sparse.
            ValueError: if `X` has not the columns that were fitted, or is not finite.
        """
        where = f"{type(self).__name__}.transform"
        x = self._as_fitted(where, X)
        packed = check_flag(where, "packed_output", self.packed_output)
        with autocast_off(x.device):
            looked_at = x if packed else self._project(x.to(torch.float32))
        if not torch.isfinite(looked_at).all():
            row, _ = (~torch.isfinite(looked_at)).nonzero()[0].tolist()
            what = "X whose projections are finite in float32" if x[row].double().isfinite().all() else "X to be finite"
            raise ValueError(f"{where}: expected {what}, got NaN or an infinity in row {row}")
        return as_given(self._codes(where, x) if packed else looked_at, X)

    def encode(self, X: Array) -> Array:
        """Return the packed codes of embeddings.

        Args:
            X: [n, d] as `fit` takes it.

        Returns:
            uint8 [n, ceil(n_bits / 8)] as `fasthash.pack_bits` has it, a tensor if `X` is one, else a NumPy array.

        Raises:
            sklearn.exceptions.NotFittedError: before `fit`.
            TypeError: if `X` is not of numbers, or sparse.
            ValueError: if `X` has not the columns that were fitted, or a projection is NaN.
        """
        where = f"{type(self).__name__}.encode"
        return as_given(self._codes(where, self._as_fitted(where, X)), X)

    def _codes(self, where: str, x: torch.Tensor) -> torch.Tensor:
        with autocast_off(x.device):
            return self._encode(where, x)

    def _as_fitted(self, where: str, X: Array) -> torch.Tensor:
        check_is_fitted(self)
        x = _embeddings(where, X)
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{where}: expected X with {self.n_features_in_} columns, as fitted, got {x.shape[1]}: X has "
                f"{x.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input"
            )
        if isinstance(X, torch.Tensor):  # which has no names to compare
            return x
        try:
            validate_data(self, _named(X, x), reset=False, skip_check_array=True)
        except ValueError as error:
            raise ValueError(f"{where}: expected X of the columns that were fitted, got others. {error}") from None
        return x

    @property
    def _n_features_out(self) -> int:
        n_bits = operator.index(self.n_bits)
        return (n_bits + 7) // 8 if self.packed_output else n_bits

    def __sklearn_tags__(self):  # type: ignore[no-untyped-def]
        """Return what scikit-learn asks of an estimator."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [] if self.packed_output else ["float32"]
        return tags

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and fitted state to a safetensors file with a checksum, whole or not at all.

        A `RandomState` among the parameters, which was for `fit`, is left out.

        Raises:
            sklearn.exceptions.NotFittedError: before `fit`.
            ValueError: if parameters do not fit what was fitted, as after `set_params(n_bits=8)`.
        """
        check_is_fitted(self)
        try:
            self._check_state()
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{type(self).__name__}.save: expected parameters and attributes as `fit` left them, got others; fit "
                f"again: {error}"
            ) from None
        parameters = {k: v for k, v in self.get_params().items() if not isinstance(v, np.random.RandomState)}
        metadata = {
            "format": _FORMAT,
            "class": type(self).__name__,
            "parameters": json.dumps(parameters, default=np.generic.item),
            "n_features_in": str(self.n_features_in_),
        }
        if hasattr(self, "feature_names_in_"):
            metadata["feature_names_in"] = json.dumps(self.feature_names_in_.tolist())
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
        metadata, tensors = read_tensors(expected, path, _FORMAT, _FIELDS, ["feature_names_in"])
        for declared in (False, True):
            HASHERS.load_all(declared)
            classes = {known.__name__: known for known in _with_subclasses(cls)}
            if metadata["class"] in classes:
                break
        else:
            is_hasher = metadata["class"] in {known.__name__ for known in _with_subclasses(Hasher)}
            hint = "; Hasher.load reads any" if is_hasher else ""
            raise ValueError(f"{expected} one of {metadata['class']}, where {' or '.join(classes)} is read{hint}")
        try:
            hasher: Hasher = classes[metadata["class"]](**json.loads(metadata["parameters"]))
            hasher.n_features_in_ = int(metadata["n_features_in"])
            if "feature_names_in" in metadata:
                hasher.feature_names_in_ = _names(metadata["feature_names_in"], hasher.n_features_in_)
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


def _names(written: str, d: int) -> NDArray[np.object_]:
    """Return the names of d columns of a JSON list, or raise a ValueError that says what is wrong with it."""
    names = json.loads(written)
    if not isinstance(names, list) or len(names) != d or not all(isinstance(name, str) for name in names):
        raise ValueError(f"feature_names_in are not the names of {d} columns")
    return np.array(names, dtype=object)


def _embeddings(where: str, X: Array) -> torch.Tensor:
    """Return `X` as a floating-point matrix, or raise."""
    if issparse(X):
        raise TypeError(f"{where}: expected X to be a dense array, got a sparse one, {type(X).__name__}")
    if isinstance(X, np.ndarray) and X.dtype == np.object_ and X.ndim != 1:
        X = _numbers(where, X)
    x = to_tensor(where, "X", X)
    if x.is_complex():
        raise ValueError(f"{where}: expected X of real numbers, got {dtype_name(x)}. Complex data not supported")
    if x.ndim == 1:
        raise ValueError(f"{where}: expected X of shape [n, d], got [{len(x)}]. Reshape your data: X[None] is one row")
    check_matrix(where, "X", x, "d")
    check_values(where, "X", x)
    return x.detach() if x.is_floating_point() else x.float()


def _check_magnitudes(where: str, given: torch.Tensor, x: torch.Tensor) -> None:
    """Raise unless `x`, what is given in float32, is finite and so are sums of its centred rows and columns."""
    largest = torch.finfo(x.dtype).max / (4 * max(x.shape))
    low, high = (float(value) for value in x.aminmax())
    if -largest <= low and high <= largest:
        return
    given = given.double()
    if (wrong := (~given.isfinite()).nonzero()).numel():
        row, column = wrong[0].tolist()
        value = "NaN" if given[row, column].isnan() else given[row, column].item()
        raise ValueError(f"{where}: expected X to be finite, got {value} at row {row}, column {column}")
    row, column = (~(x.abs() <= largest)).nonzero()[0].tolist()
    raise ValueError(
        f"{where}: expected X of shape {list(x.shape)} from {-largest:.3g} to {largest:.3g}, as sums are in float32, "
        f"got {given[row, column].item():.3g} at row {row}, column {column}"
    )


def within_squares(x: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return `x`, or a multiple of it whose squares float32 holds, and the factor, a power of two."""
    magnitude = max(abs(float(value)) for value in x.aminmax())
    if magnitude == 0 or _LEAST < magnitude < 1 / _LEAST:
        return x, 1.0
    factor = 2.0 ** min(-math.frexp(magnitude)[1], 126)
    return x * factor, factor


def _named(X: Array, x: torch.Tensor) -> Array:
    """Return what has the names of the columns, of a data frame, and as many columns."""
    if hasattr(X, "column_names") and hasattr(X, "schema"):
        return X.select(feature_columns(X.schema))
    return X if hasattr(X, "columns") else x


def _numbers(where: str, X: Array) -> NDArray[np.float64]:
    """Return the numbers of an array of objects, or raise."""
    try:
        return np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{where}: expected X to be a numeric array, got {type(X).__name__}: {error}") from None


def seed_of(where: str, random_state: int | np.random.RandomState | None) -> int:
    """Return a seed: an integer itself, else one that is drawn; or raise."""
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return int(check_random_state(random_state).randint(2**31 - 1))
    try:
        return check_integer(where, "random_state", random_state, 0)
    except TypeError:
        got = type(random_state).__name__
        raise TypeError(f"{where}: expected random_state to be an integer, a RandomState or None, got {got}") from None


def principal_axes(x: torch.Tensor, n_axes: int) -> torch.Tensor:
    """Return the `n_axes` directions of largest variance of centred `x` [n, d], as columns [d, n_axes]."""
    covariance = (x.T @ x).to(torch.float64)
    if not covariance.isfinite().all():
        x = x / x.abs().max()
        covariance = (x.T @ x).to(torch.float64)
    axes: torch.Tensor = torch.linalg.eigh(covariance).eigenvectors  # ascending
    return axes.flip(1)[:, :n_axes].to(x.dtype)
