"""How fast exact search is on this machine, beside FAISS where that is installed."""

from __future__ import annotations

import csv
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fasthash.files import replacing
from fasthash.ops.hamming import hamming_topk

COLUMNS = ("bits", "queries", "fasthash", "fasthash_median", "faiss", "faiss_median", "ratio")
_FEWEST, _MOST = 3, 1_000  # rounds

Search = Callable[[], NDArray[np.int32]]


def run_bench(
    out: Path,
    *,
    bits: Sequence[int] = (64, 128, 256, 512, 1024),
    n_codes: int = 1_000_000,
    queries: Sequence[int] = (1, 100),
    k: int = 10,
    threads: int = 1,
    seconds: float = 120.0,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Time the exact search of random codes, and FAISS's IndexBinaryFlat by turns; write a table and a picture.

    Both are run once before they are timed, and their distances compared.

    Args:
        out: folder for bench.csv and bench.png; the picture needs matplotlib (the extra "plots").
        bits: lengths of the codes, multiples of 8, as FAISS has them.
        n_codes: of each length, at least k.
        queries: how many are asked at once.
        k: hits of a query, at least 1.
        threads: of both.
        seconds: that all of it may take, nearly: a search is repeated at least three times.
        seed: of the codes.

    Returns:
        A row for each length and number of queries, by `COLUMNS`: least and median milliseconds of each, and how many
        times FAISS's least is that of fasthash; without FAISS these are absent.

    Raises:
        RuntimeError: if the distances found differ.
    """
    out.mkdir(parents=True, exist_ok=True)
    share = seconds / (len(bits) * len(queries))
    rows = []
    for n_bits in tqdm(bits, desc="search", unit="length", disable=None):
        rng = np.random.default_rng([seed, n_bits])
        codes, asked = (rng.integers(0, 256, (n, n_bits // 8), np.uint8) for n in (n_codes, max(queries)))
        index = _faiss_index(codes, threads)
        for n in queries:
            searches: dict[str, Search] = {"fasthash": _own_search(asked[:n], codes, k, threads)}
            if index is not None:
                searches["faiss"] = _faiss_search(index, asked[:n], k)
            rows.append({"bits": n_bits, "queries": n, **_times(searches, share)})
    with replacing(out / "bench.csv") as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    if importlib.util.find_spec("matplotlib"):
        figure = _picture(rows, n_codes, f"Exact search of {n_codes:,} codes, k = {k}; threads: {threads}")
        with replacing(out / "bench.png") as path:
            figure.savefig(path, format="png", dpi=120)
    else:
        (out / "bench.png").unlink(missing_ok=True)  # of other numbers
    return rows


def _own_search(queries: NDArray[np.uint8], codes: NDArray[np.uint8], k: int, threads: int) -> Search:
    return lambda: hamming_topk(queries, codes, k, threads=threads).distances


def _faiss_index(codes: NDArray[np.uint8], threads: int) -> Any:
    if not importlib.util.find_spec("faiss"):
        return None
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index.add(codes)
    return index


def _faiss_search(index: Any, queries: NDArray[np.uint8], k: int) -> Search:
    return lambda: index.search(queries, k)[0]


def _times(searches: dict[str, Search], seconds: float) -> dict[str, float]:
    """Run searches by turns for so long; return milliseconds and their ratio."""
    found = [search() for search in searches.values()]
    if not all(np.array_equal(distances, found[0]) for distances in found):
        raise RuntimeError("bench: expected the distances that FAISS finds, got others")
    taken: dict[str, list[float]] = {name: [] for name in searches}
    for _ in _rounds(seconds):
        for name, search in searches.items():
            start = time.perf_counter()
            search()
            taken[name].append(1e3 * (time.perf_counter() - start))
    row = {name: min(of) for name, of in taken.items()}
    row |= {f"{name}_median": float(np.median(of)) for name, of in taken.items()}
    return row | ({"ratio": row["faiss"] / row["fasthash"]} if "faiss" in row else {})


def _rounds(seconds: float) -> Iterator[int]:
    end = time.perf_counter() + seconds
    for i in range(_MOST):
        if i >= _FEWEST and time.perf_counter() > end:
            return
        yield i


def _picture(rows: Sequence[dict[str, Any]], n_codes: int, title: str) -> Any:
    from matplotlib.figure import Figure

    numbers = list(dict.fromkeys(row["queries"] for row in rows))
    figure = Figure(figsize=(1 + 3.6 * len(numbers), 3.8), layout="constrained")
    figure.suptitle(title)
    for axes, n in zip(figure.subplots(1, len(numbers), squeeze=False)[0], numbers, strict=True):
        of_number = [row for row in rows if row["queries"] == n]
        for name, label in (("fasthash", "fasthash"), ("faiss", "FAISS IndexBinaryFlat")):
            timed = [(row["bits"], n * n_codes / row[name] / 1e6) for row in of_number if name in row]
            if timed:
                axes.plot(*zip(*timed, strict=True), marker="o", label=label)
        axes.set_xscale("log", base=2)
        axes.set_xticks([row["bits"] for row in of_number], [str(row["bits"]) for row in of_number], minor=False)
        axes.set(xlabel="bits", ylabel="10^9 comparisons a second", ylim=(0, None), title=f"{n} at once")
        axes.grid(alpha=0.3)
        axes.legend()
    return figure
