"""What the commands read: arrays, models, indexes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fasthash.cli.arguments import ArrayFile
from fasthash.errors import MissingDependencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fasthash.hashers import AffineHasher, Hasher
    from fasthash.index import FlatIndex
    from fasthash.recipes.networks import HashingNetwork

_ROWS_AT_ONCE = 4096


def floats(x: NDArray[Any]) -> NDArray[Any]:
    """Return vectors as hashers and distances take them: integers, as .bvecs and .csv have them, as float32."""
    return x.astype("float32") if x.dtype.kind in "ui" else x


def read_codes(place: str, bitorder: str | None = None, n_bits: int | None = None) -> tuple[NDArray[Any], int]:
    """Return the packed codes of an array's file, in fasthash's order of bits, and their length.

    Args:
        place: of bytes [n, n_bits / 8], as other integers where the format knows no bytes, of signs, integers -1 and +1
            [n, n_bits], or of hexadecimal hashes.
        bitorder: by default little; of int8 big, as sentence-transformers makes them, and of hexadecimal hashes. Where
            it is given int8 are bytes, whatever their values.
        n_bits: the length, by default that of the bytes, the signs or the digits. Where it is given nothing of another
            length is taken for signs.
    """
    from fasthash.data.arrays import located, read_array
    from fasthash.hashes import from_hashes
    from fasthash.ops.packing import pack_bits

    path, column = located(place)
    hashes = f"hexadecimal hashes are read from a column, {path.name}:name, or a .txt file, one a line"
    if column is not None:
        hashes = "hexadecimal hashes that are decimal digits alone need a 0x before, or a .txt file, one a line"
    hint = f"; {hashes}" if path.suffix == ".csv" else ""
    try:
        x = read_array(place)
    except ValueError as error:
        raise ValueError(f"{error}{hint if column is None else ''}") from error
    is_text = x.dtype.kind == "U"
    if not is_text and x.ndim != 2:
        raise ValueError(f"expected codes of shape [n, n_bits / 8] in {place}, got {list(x.shape)}{hint}")
    fits = x.dtype.kind in "ui" and x.itemsize > 1 and x.size and x.min() >= 0 and x.max() < 256
    if not fits and n_bits in (None, *x.shape[1:]) and _are_signs(x):
        if bitorder is None:
            return pack_bits(x > 0), x.shape[1]
        if x.itemsize > 1:
            raise ValueError(f"{place}: expected no bitorder for codes of -1 and +1, got {bitorder}")
    codes = x.astype("uint8") if fits else x
    if is_text or codes.dtype == "int8" or bitorder == "big":
        try:
            codes = from_hashes(codes, n_bits if is_text else None, bitorder=bitorder or "big")
        except (TypeError, ValueError) as error:
            raise ValueError(f"{place}: {error}") from error
    if n_bits is None:
        n_bits = 4 * len(re.sub("^0[xX]", "", x[0])) if is_text else 8 * codes.shape[1]
    return codes, n_bits


def _are_signs(x: NDArray[Any]) -> bool:
    """Return whether all of an array are the integers -1 and +1; others are told by the first rows, as a rule."""
    parts = (x[start : start + _ROWS_AT_ONCE] for start in range(0, len(x), _ROWS_AT_ONCE))
    return x.dtype.kind == "i" and x.size > 0 and all(((part == 1) | (part == -1)).all() for part in parts)


def read_model(path: Path) -> Hasher | HashingNetwork:
    """Return the hasher or the trained network of a safetensors file."""
    from fasthash.hashers import Hasher
    from fasthash.recipes.loop import WEIGHTS_FORMAT
    from fasthash.recipes.networks import HashingNetwork
    from fasthash.tensor_files import read_metadata, read_tensors

    expected = f"encode: expected a hasher's or a network's safetensors file at {path}, got"
    metadata = read_metadata(expected, path)
    if metadata.get("format") == WEIGHTS_FORMAT:
        metadata, _ = read_tensors(expected, path, WEIGHTS_FORMAT, ["settings"])
        own = json.loads(metadata["settings"])["class"]
        raise ValueError(f"{expected} weights of {own}, a network that cannot be made from its file")
    return Hasher.load(path) if "n_features_in" in metadata else HashingNetwork.load(path)


def read_rotation(network: Path, n_bits: int) -> AffineHasher | None:
    """Return the rotation that a training wrote beside its network, or None."""
    from fasthash.hashers import AffineHasher

    path = network.with_name("rotation.safetensors")
    if network.name != "network.safetensors" or not path.exists():
        return None
    rotation = AffineHasher.load(path)
    if not n_bits == rotation.n_features_in_ == rotation.n_bits:
        raise ValueError(
            f"encode: expected a rotation of {n_bits} bits at {path}, beside its network, got one from "
            f"{rotation.n_features_in_} to {rotation.n_bits}"
        )
    return rotation


def is_faiss(path: str | Path) -> bool:
    """Tell whether a file is a binary index of FAISS, whose kinds are four letters that begin with IB."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(2) == b"IB"


def read_faiss(path: str | Path) -> FlatIndex:
    """Return the codes and ids of a binary index of FAISS."""
    from fasthash.index import from_faiss

    try:
        import faiss
    except ImportError:
        raise MissingDependencyError(f"reading {path}", "FAISS", "faiss") from None
    try:
        return from_faiss(faiss.read_index_binary(str(path)))
    except (MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"expected a binary index of FAISS that gives its codes at {path}, got {error}") from error


class ArrayOrAsymmetric(ArrayFile):
    """What `search` reranks by: an array's file, or the codes themselves."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        """Refuse what is neither."""
        return "asymmetric" if value == "asymmetric" else super().convert(value, parameter, context)


class ArrayOrFaiss(ArrayFile):
    """An array's file, or a binary index of FAISS."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        """Refuse what is neither."""
        if is_faiss(value):
            return str(value)
        return super().convert(value, parameter, context)
