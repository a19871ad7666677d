"""All pairs of packed codes that are near each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from tqdm import tqdm

from fasthash import _core
from fasthash.errors import (
    MAX_BITS,
    MAX_INTEGER,
    check_choice,
    check_codes,
    check_device,
    check_flag,
    check_integer,
    check_same_width,
    naming_memory,
)
from fasthash.ops.arrays import Array, all_as_given, to_tensor
from fasthash.ops.declaration import RefusedError
from fasthash.ops.hamming.op import mask_bits, thread_count
from fasthash.ops.pairs.found import HammingPairs, Pairs, n_pairs_of_copies, with_copies
from fasthash.ops.registry import Kernel, choose, cpu_kernels

KERNELS = {
    "reference": Kernel("fasthash.ops.pairs.reference", ("cpu", "cuda")),
    **cpu_kernels("fasthash.ops.pairs.kernel_cpu"),
    "triton": Kernel("fasthash.ops.pairs.kernel_triton", ("cuda",), package="triton"),
}

MAX_CODES = _core.PairSearch.max_codes
COPIES = ("first", "all")


class PairSearch(Protocol):
    """A search in passes, each of which finds all pairs of the codes `first` to `end`."""

    @property
    def first(self) -> int:
        """The pass's first code; the number of codes, once there is no pass left."""

    @property
    def end(self) -> int:
        """Up to which code the pass goes: less than all while more pairs were found than the capacity."""

    @property
    def share_done(self) -> float:
        """How much of the pass is done, 0 to 1."""

    def step(self) -> bool:
        """Do a part of the pass, and return whether it was the last."""

    def take(self) -> Pairs:
        """Return the pass's i, j and distances, sorted, and begin the next."""


def hamming_pairs(
    codes: Array,
    radius: int,
    *,
    others: Array | None = None,
    mask: Array | None = None,
    since: int = 0,
    copies: str = "first",
    max_pairs: int | None = None,
    progress: bool = False,
    threads: int | None = None,
    kernel: str | None = None,
) -> HammingPairs:
    """Find every pair of codes at most `radius` bits apart, exactly and once.

    Codes that are equal are found first. By default a code that equals an earlier one, a copy, is paired with the first
    of its equals, at distance 0, and with no other code: what holds for the first holds for it. So c copies are c pairs
    instead of c^2 / 2, and whatever is connected by pairs stays so.

    Codes that come later are put behind those before, and `since` is how many these were: what the calls find is one
    after the other what one call finds for all. Each takes the time to list all codes, but not that to pair those
    before.

    Memory beside the codes is 8 ceil(n_bits / 64) + 8 bytes a code, 4 more where some are equal or left out, at most 36
    bytes a pair, and some MiB a thread; on a GPU see the room's README. A search on a CPU releases the GIL and stops at
    Ctrl-C, on a GPU after a table.

    Args:
        codes: packed codes, uint8 [n, n_bits / 8].
        radius: the largest distance of a pair, at least 0.
        others: packed codes as wide, uint8 [m, n_bits / 8], on the same device: pairs are then of a code and one of
            these, all of them.
        mask: which of `codes` take part: bool [n], or the same as bits, uint8 [ceil(n / 8)] in `pack_bits` order, on
            the same device.
        since: of each pair j is at least this, 0 to n: what the codes from there on add. Not with `others`, nor with
            all copies.
        copies: "first", as above; "all" pairs copies as any code.
        max_pairs: how many pairs there may be; more are an error, which comes before they take memory.
        progress: whether to show a progress bar.
        threads: CPU threads; by default FASTHASH_THREADS, else the processors this process may use, by its affinity and
            its container's quota.
        kernel: a name from `fasthash.ops.pairs.KERNELS`; by default the best one for the device.

    Returns:
        `HammingPairs(i, j, distances)`, tensors if `codes` is one, else NumPy arrays.

    Raises:
        TypeError: if an argument has the wrong dtype.
        ValueError: if shapes, widths, devices or the radius do not fit, or there are more pairs than `max_pairs`.
    """
    found = pairs_of("hamming_pairs", codes, radius, others, mask, since, copies, max_pairs, progress, threads, kernel)
    return HammingPairs(*all_as_given(found, codes))


def pairs_of(
    where: str,
    codes: Array,
    radius: int,
    others: Array | None,
    mask: Array | None,
    since: int,
    copies: str,
    max_pairs: int | None,
    progress: bool,
    threads: int | None,
    kernel: str | None = None,
) -> Pairs:
    """Return what `hamming_pairs` does, as tensors; errors begin with `where`."""
    check_choice(where, "copies", copies, COPIES)
    if copies == "all" and check_integer(where, "since", since, 0) > 0:
        raise ValueError(f"{where}: expected since only with copies 'first', got {since} and 'all'")
    c, found = searched(where, codes, radius, others, mask, since, max_pairs, progress, threads, kernel)
    if copies == "all" and others is None:
        with _naming(where):
            _check_number(where, max_pairs, max_pairs is None or n_pairs_of_copies(len(c), found) <= max_pairs)
            found = with_copies(len(c), found)
    return found


def iter_hamming_pairs(
    codes: Array,
    radius: int,
    *,
    others: Array | None = None,
    mask: Array | None = None,
    first: int = 0,
    part_pairs: int = 2**22,
    progress: bool = False,
    threads: int | None = None,
    kernel: str | None = None,
) -> Iterator[HammingPairs]:
    """Find the pairs that `hamming_pairs` does in parts, which take turns with what is done with them.

    One part after the other they are the result of `hamming_pairs`: sorted by (i, j), and all pairs of an `i` in one
    part; at which codes parts end is left to chance. A run that was ended goes on with `first` one more than the last
    `i` that was kept. Each part is a pass over the codes that are left.

    Args:
        codes: packed codes, uint8 [n, n_bits / 8]; not to be changed meanwhile.
        radius: the largest distance of a pair, at least 0.
        others: see `hamming_pairs`.
        mask: see `hamming_pairs`.
        first: of which code on pairs are sought, 0 to n: those with i >= first.
        part_pairs: how many pairs a part has at most, at least 1; more only if they are all of one code.
        progress: whether to show a progress bar.
        threads: see `hamming_pairs`.
        kernel: see `hamming_pairs`.

    Returns:
        An iterator of `HammingPairs`, none of which is empty.

    Raises:
        TypeError: if an argument has the wrong dtype.
        ValueError: if shapes, widths, devices or numbers do not fit.
    """
    where = "iter_hamming_pairs"
    part_pairs = check_integer(where, "part_pairs", part_pairs, 1)
    with _naming(where):
        c, search = _begun(where, codes, radius, others, mask, 0, first, part_pairs, progress, threads, kernel)

    def parts() -> Iterator[HammingPairs]:
        with _naming(where):
            for complete in _steps(search, len(c), progress):
                if complete and len((found := search.take())[0]) > 0:
                    yield HammingPairs(*all_as_given(found, codes))

    return parts()


def searched(
    where: str,
    codes: Array,
    radius: int,
    others: Array | None,
    mask: Array | None,
    since: int,
    max_pairs: int | None,
    progress: bool,
    threads: int | None,
    kernel: str | None,
) -> tuple[torch.Tensor, Pairs]:
    """Return the codes and all pairs, in which copies are paired with the first of their equals alone."""
    most = MAX_INTEGER if max_pairs is None else check_integer(where, "max_pairs", max_pairs, 0)
    with _naming(where):
        c, search = _begun(where, codes, radius, others, mask, since, 0, most, progress, threads, kernel)
        for complete in _steps(search, len(c), progress):
            _check_number(where, max_pairs, search.end == len(c))
            if complete:
                break
        found = search.take()
        _check_number(where, max_pairs, len(found[0]) <= most)  # all those of one code are in one pass
        return c, found


def _begun(
    where: str,
    codes: Array,
    radius: int,
    others: Array | None,
    mask: Array | None,
    since: int,
    first: int,
    capacity: int,
    progress: bool,
    threads: int | None,
    kernel: str | None,
) -> tuple[torch.Tensor, PairSearch]:
    """Return the codes and a search of them, with arguments that are checked."""
    c, o = to_tensor(where, "codes", codes), None if others is None else to_tensor(where, "others", others)
    check_codes(where, "codes", c)
    if o is not None:
        check_codes(where, "others", o)
        check_same_width(where, "others", o, "codes", c)
        check_device(where, "others", o, c.device)
    bits = None if mask is None else mask_bits(where, mask, len(c), c.device)
    if (n := len(c) + (0 if o is None else len(o))) > MAX_CODES:
        raise ValueError(f"{where}: expected at most {MAX_CODES} codes, got {n}")
    radius = min(check_integer(where, "radius", radius, 0), MAX_BITS)
    since = check_integer(where, "since", since, 0, len(c))
    if since > 0 and o is not None:
        raise ValueError(f"{where}: expected since or others, got both")
    first = check_integer(where, "first", first, 0, len(c))
    check_flag(where, "progress", progress)
    n_threads = thread_count(where, threads)
    begin = choose(KERNELS, c.device, kernel, where).function("pair_search")
    return c, begin(c, o, bits, radius, since, first, capacity, n_threads)


def _steps(search: PairSearch, n_codes: int, progress: bool) -> Iterator[bool]:
    """Make a search's steps; yield after each whether it completes a pass, which is then to be taken."""
    with tqdm(total=n_codes, unit="code", initial=search.first, disable=not progress) as bar:
        while search.first < n_codes:
            complete = search.step()
            done = search.first + int(search.share_done * (search.end - search.first))
            bar.update(max(0, done - bar.n))
            yield complete


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Put the user's function before what a kernel refuses, and before what says that there is no memory."""
    try:
        with naming_memory(where):
            yield
    except RefusedError as refused:
        raise ValueError(f"{where}: {refused}") from None


def _check_number(where: str, max_pairs: int | None, fits: bool) -> None:
    if not fits:
        raise ValueError(f"{where}: expected at most {max_pairs} pairs, as max_pairs says, found more")
