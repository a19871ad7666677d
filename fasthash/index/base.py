"""What every index has: packed codes, their ids, and the checks of what comes in."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch

from fasthash.errors import MAX_BITS, check_codes, check_integer, dtype_name
from fasthash.index import storage
from fasthash.index.rerank import by_function, by_vectors, nearest_candidates
from fasthash.lazy import load_all
from fasthash.ops.arrays import Array, all_as_given, as_given, to_tensor
from fasthash.ops.hamming import Hits, RadiusHits
from fasthash.ops.hamming.op import mask_bits, thread_count


def _memory(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    # NumPy asks the system for huge pages, without which a search that waits for memory waits longer; but it begins
    # anywhere, and a scan of 64-bit codes takes longer where its vectors lie across cache lines.
    n_bytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(n_bytes + storage.ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % storage.ALIGNMENT
    return torch.from_numpy(memory[start : start + n_bytes]).view(dtype).view(shape)


class Rows:
    """Rows that are appended in place, their memory doubling as it fills.

    Attributes:
        rows: the rows so far, a view.
    """

    def __init__(self, row_shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self._memory = _memory((0, *row_shape), dtype, device)
        self.rows = self._memory

    @classmethod
    def of(cls, rows: torch.Tensor) -> Rows:
        """Return rows that lie in the memory of a tensor until they are added to, and are never written there."""
        instance = cls.__new__(cls)
        instance._memory = instance.rows = rows
        return instance

    def append(self, rows: torch.Tensor) -> None:
        """Copy rows to the end."""
        n_before = len(self.rows)
        n = n_before + len(rows)
        if n > len(self._memory):
            capacity = max(n, 2 * len(self._memory))
            larger = _memory((capacity, *rows.shape[1:]), rows.dtype, self._memory.device)
            larger[:n_before] = self.rows
            self._memory = larger
        self._memory[n_before:n] = rows
        self.rows = self._memory[:n]


class Index(ABC):
    """Packed codes with ids; a subclass says how they are searched.

    Args:
        n_bits: length of the codes, 1 to 4,096.
        device: where the codes are kept and searched.

    `len(index)` is the number of codes. Equal distances are ordered by insertion. Searches may run in several threads
    at once; `add`, `remove` and `reset` may not run beside them.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ("n_bits",)  # the arguments of the class that `save` writes, attributes too

    def __init__(self, n_bits: int, *, device: str | torch.device = "cpu") -> None:
        self.n_bits = check_integer(type(self).__name__, "n_bits", n_bits, 1, MAX_BITS)
        self._width = (self.n_bits + 7) // 8
        self.device = torch.device(device)
        self.reset()

    def __len__(self) -> int:
        return self._codes.rows.shape[0]

    @property
    def codes(self) -> torch.Tensor:
        """The codes, uint8 [len(index), ceil(n_bits / 8)], in order of insertion; a view, not to be written to."""
        return self._codes.rows

    @property
    def ids(self) -> torch.Tensor:
        """The ids of `codes`, int64 [len(index)]."""
        return torch.arange(len(self), device=self.device) if self._ids is None else self._ids.rows

    def reset(self) -> None:
        """Remove every code."""
        self._codes = Rows((self._width,), torch.uint8, self.device)
        self._ids: Rows | None = None  # None while the ids are 0, 1, 2, ...
        self._next_id: int | None = 0  # None once ids were given

    def add(self, codes: Array, ids: Array | None = None) -> None:
        """Add a copy of codes.

        Args:
            codes: uint8 [n, ceil(n_bits / 8)].
            ids: int64 [n], not negative, none twice, none in the index. By default codes are numbered in order of
                insertion, an id never being used again. An index has ids of one kind or the other.

        Raises:
            TypeError: if `codes` is not uint8, or `ids` not int64.
            ValueError: if shapes do not fit or an id may not be used. The index is unchanged.
        """
        self._add(f"{type(self).__name__}.add", codes, ids)

    def _add(self, where: str, codes: Array, ids: Array | None) -> None:
        c = self._check_codes(where, "codes", codes).to(self.device)
        if ids is None:
            if self._next_id is None:
                raise ValueError(f"{where}: expected ids, as the codes in the index were added with ids, got none")
            if self._ids is not None:
                self._ids.append(torch.arange(self._next_id, self._next_id + len(c), device=self.device))
            self._codes.append(c)
            self._next_id += len(c)
            return
        if self._next_id:
            raise ValueError(f"{where}: expected no ids, as the codes in the index were added without, got ids")
        i = self._check_ids(where, ids)
        if list(i.shape) != [len(c)]:
            raise ValueError(f"{where}: expected ids of shape {[len(c)]} for {len(c)} codes, got {list(i.shape)}")
        if len(i) and int(i.min()) < 0:
            raise ValueError(f"{where}: expected ids of at least 0, got {int(i.min())}")
        ordered = i.sort().values
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        known = i[torch.isin(i, self.ids)]
        if len(repeated) or len(known):
            raise ValueError(f"{where}: expected ids that are new, got {int(torch.cat([repeated, known])[0])} again")
        if self._ids is None:
            self._ids, self._next_id = Rows((), torch.int64, self.device), None
        self._ids.append(i)
        self._codes.append(c)

    def remove(self, ids: Array) -> None:
        """Remove codes; the others keep their ids and their order.

        Args:
            ids: int64 [m].

        Raises:
            TypeError: if `ids` is not int64.
            ValueError: if an id is not in the index. The index is unchanged.
        """
        where = f"{type(self).__name__}.remove"
        i = self._check_ids(where, ids)
        missing = i[~torch.isin(i, self.ids)]
        if len(missing):
            raise ValueError(f"{where}: expected ids in the index, got {int(missing[0])}, which is not")
        keep = ~torch.isin(self.ids, i)
        kept_codes, kept_ids = self.codes[keep], self.ids[keep]
        self._codes = Rows((self._width,), torch.uint8, self.device)
        self._ids = Rows((), torch.int64, self.device)
        self._codes.append(kept_codes)
        self._ids.append(kept_ids)

    def search(
        self,
        queries: Array,
        k: int,
        *,
        mask: Array | None = None,
        threads: int | None = None,
        rerank: Array | str | Callable[[Array], Array] | None = None,
        rerank_queries: Array | None = None,
        metric: str = "inner_product",
        factor: int = 10,
    ) -> Hits:
        """Find the k nearest codes of every query, or of its nearest codes the k that a second distance finds nearest.

        Args:
            queries: uint8 [q, ceil(n_bits / 8)].
            k: how many hits a query gets, at least 1.
            mask: the eligible codes in order of insertion, as in `fasthash.hamming_topk`.
            threads: as in `fasthash.hamming_topk`.
            rerank: what the `factor * k` codes of smallest Hamming distance are ordered by. An array: the vectors that
                the codes stand for, floating-point [len(index), d] in order of insertion, of which only the candidates'
                are read, from a memory-mapped file for instance. "asymmetric": the codes themselves, as vectors of -1
                and +1, d being n_bits. A function: it gets the ids of the candidates, int64 [q, c] with -1 where
                there are fewer, and returns their distances, floating-point [q, c].
            rerank_queries: floating-point [q, d], compared with vectors or codes: the queries' embeddings or, for
                "asymmetric", their projections (a hasher's `transform`).
            metric: "inner_product", of which the distance is the negative, or "l2", of which it is the square.
            factor: how many times k candidates are taken, at least 1. Where `factor * k` reaches len(index), the hits
                are exact in the second distance.

        Returns:
            `Hits(distances, ids)` of shape [q, k], tensors if `queries` is one, else NumPy arrays. Where fewer than k
            codes are eligible, rows end in distance 2^31 - 1 and id -1. Reranked, the distances are those of `rerank`,
            floating-point and ascending, NaN counting as infinity; ties are in the order of Hamming distance; and rows
            end in infinity and id -1.

        Raises:
            TypeError: if an argument has the wrong dtype.
            ValueError: if shapes, widths or k do not fit.
        """
        where = f"{type(self).__name__}.search"
        q = self._check_codes(where, "queries", queries).to(self.device)
        k = check_integer(where, "k", k, 1)
        bits = None if mask is None else self._mask_bits(where, mask)
        n_threads = thread_count(where, threads)
        if (rerank is None or callable(rerank)) and rerank_queries is not None:
            raise ValueError(f"{where}: expected rerank_queries only with vectors or codes to rerank by, got some")
        if rerank is None:
            distances, positions = self._nearest(where, q, k, bits, n_threads)
        else:
            if callable(rerank):
                second_distance = by_function(where, rerank, lambda at: as_given(self._ids_at(at), queries))
            else:
                second_distance = by_vectors(where, rerank, rerank_queries, metric, self.codes, self.n_bits, len(q))
            n_candidates = max(k, min(k * check_integer(where, "factor", factor, 1), len(self)))
            _, positions = self._nearest(where, q, n_candidates, bits, n_threads)
            distances, positions = nearest_candidates(second_distance, positions, k)
        return Hits(*all_as_given((distances, self._ids_at(positions)), queries))

    def radius_search(
        self, queries: Array, radius: int, *, mask: Array | None = None, threads: int | None = None
    ) -> RadiusHits:
        """Find every code at most `radius` bits from each query.

        Args:
            queries: uint8 [q, ceil(n_bits / 8)].
            radius: the largest distance that counts as a hit, at least 0.
            mask: the eligible codes in order of insertion, as in `fasthash.hamming_topk`.
            threads: as in `fasthash.hamming_topk`.

        Returns:
            `RadiusHits(offsets, distances, ids)`, tensors if `queries` is one, else NumPy arrays.

        Raises:
            TypeError: if an argument has the wrong dtype.
            ValueError: if shapes, widths or the radius do not fit.
        """
        where = f"{type(self).__name__}.radius_search"
        q = self._check_codes(where, "queries", queries).to(self.device)
        radius = check_integer(where, "radius", radius, 0)
        bits = None if mask is None else self._mask_bits(where, mask)
        offsets, distances, positions = self._within(where, q, radius, bits, thread_count(where, threads))
        return RadiusHits(*all_as_given((offsets, distances, self._ids_at(positions)), queries))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file, which `fasthash.load_index` reads.

        A file that is there is replaced in one step when the new one is on the disk, also if this index is mapped from
        it; whatever interrupts, the old file or the new one is there. `fasthash/index/README.md` describes the format.
        """
        settings, tensors = self._state()
        arrays = {name: x.detach().cpu().numpy() for name, x in tensors.items()}
        storage.write(path, type(self).__name__, settings, arrays)

    def _state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Return what `save` writes: settings, for JSON, and tensors."""
        settings = {name: getattr(self, name) for name in self.SETTINGS}
        tensors = {"codes": self.codes} if self._ids is None else {"codes": self.codes, "ids": self._ids.rows}
        return {**settings, "next_id": self._next_id}, tensors

    @classmethod
    def _from_state(cls, settings: dict[str, Any], tensors: dict[str, torch.Tensor], device: torch.device) -> Index:
        """Return the index of a state; a TypeError, KeyError or ValueError says what is wrong with it."""
        if settings.keys() != {*cls.SETTINGS, "next_id"}:
            raise ValueError(f"its settings are {', '.join(settings)}")
        index = cls(**{name: settings[name] for name in cls.SETTINGS})
        index.device = device
        n, next_id = len(tensors["codes"]), settings["next_id"]
        expected = {"codes": (torch.uint8, (n, index._width)), "ids": (torch.int64, (n,))}
        for name, tensor in tensors.items():
            if (tensor.dtype, tensor.shape) != expected[name]:
                raise ValueError(f"{name} are {dtype_name(tensor)} {list(tensor.shape)}")
        given_ids = next_id is None and "ids" in tensors
        if not given_ids and not (type(next_id) is int and n <= next_id < (2**63 if "ids" in tensors else n + 1)):
            raise ValueError(f"next_id is {next_id}")
        index._codes, index._next_id = Rows.of(tensors["codes"].to(device)), next_id
        index._ids = Rows.of(tensors["ids"].to(device)) if "ids" in tensors else None
        return index

    @abstractmethod
    def _nearest(
        self, where: str, queries: torch.Tensor, k: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distances and positions of the k nearest codes, as `fasthash.hamming_topk` has them.

        All is checked and on the index's device, the mask as bits; what errors there still are begin with `where`.
        """

    @abstractmethod
    def _within(
        self, where: str, queries: torch.Tensor, radius: int, mask: torch.Tensor | None, threads: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return offsets, distances and positions of the hits, as `hamming_radius` has them; see `_nearest`."""

    def _check_codes(self, where: str, name: str, codes: Array) -> torch.Tensor:
        c = to_tensor(where, name, codes)
        if c.dtype != torch.uint8 or c.ndim != 2 or c.shape[1] != self._width:
            check_codes(where, name, c)
            raise ValueError(
                f"{where}: expected {name} of {self._width} bytes a row ({self.n_bits} bits), got {c.shape[1]}"
            )
        return c

    def _check_ids(self, where: str, ids: Array) -> torch.Tensor:
        i = to_tensor(where, "ids", ids)
        if i.dtype != torch.int64:
            raise TypeError(f"{where}: expected ids of dtype int64, got {dtype_name(i)}")
        if i.ndim != 1:
            raise ValueError(f"{where}: expected ids of shape [n], got {list(i.shape)}")
        return i.to(self.device)

    def _mask_bits(self, where: str, mask: Array) -> torch.Tensor:
        return mask_bits(where, to_tensor(where, "mask", mask).to(self.device), self.codes)

    def _ids_at(self, positions: torch.Tensor) -> torch.Tensor:
        if self._ids is None or len(self) == 0:
            return positions
        return torch.where(positions < 0, positions, self._ids.rows[positions.clamp(min=0)])


def load_index(
    path: str | os.PathLike[str], *, mmap: bool = True, verify: bool = False, device: str | torch.device = "cpu"
) -> Index:
    """Read an index that its `save` wrote.

    Args:
        path: the file.
        mmap: search the codes where they lie in the file, which is read as it is searched and never changed; adding or
            removing then copies them first. By default so; else they are read into memory now.
        verify: read the whole file now and compare the checksums of the codes and ids. That of the header always is.
        device: where the codes are kept and searched; another than the CPU gets a copy.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not an index, is damaged, or was written by a version of another format.
    """
    where = "load_index"
    to = torch.device(device)
    kind, settings, arrays = storage.read(where, path, mmap=mmap, verify=verify)
    load_all("fasthash.index")
    classes = {cls.__name__: cls for cls in Index.__subclasses__()}
    if kind not in classes:
        raise ValueError(f"{where}: expected a file of {' or '.join(classes)} at {os.fspath(path)}, got one of {kind}")
    tensors = {name: to_tensor(where, name, x) for name, x in arrays.items()}
    try:
        return classes[kind]._from_state(settings, tensors, to)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: expected a {kind} at {os.fspath(path)}, got one that cannot be: {error}") from None
