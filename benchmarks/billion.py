"""A billion codes made in parts, indexed on disk and searched where they lie: `python -m benchmarks.billion`.

A part is the file of an index, of rows or of planes, written whole or not at all. `manifest.json` says which are done:
a run that was ended goes on behind them. All are then mapped and searched exactly, beside a plain read of as many bytes
as a search needs. The first and the last query of a batch are compared with a count in NumPy of the codes as they are
drawn, which takes longer than all else. 10^9 codes of 64 bits take 8 GB as rows and 9 as planes.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

import click
import numpy as np
import torch

import fasthash as fh
from benchmarks.floors import read
from fasthash import _core
from fasthash.files import replacing
from fasthash.ops.planes import BLOCK_CODES, new_planes

LAYOUTS = ("rows", "planes")
SPARE_BYTES = 2**30  # that are left on the disk
_ID_BITS = 40


@dataclass(frozen=True)
class Codes:
    """Random codes: what decides every byte of the files."""

    n: int
    bits: int
    seed: int
    part: int  # how many codes a file has

    @property
    def firsts(self) -> range:
        """The id of the first code of each part."""
        return range(0, self.n, self.part)

    def draw(self, i: int) -> np.ndarray:
        """Return the codes of a part, uint8 [m, bits / 8]."""
        m, width = min(self.part, self.n - self.firsts[i]), self.bits // 8
        return np.frombuffer(np.random.default_rng([self.seed, i]).bytes(m * width), np.uint8).reshape(m, width)

    def file_bytes(self, layout: str) -> int:
        """Return how many bytes the largest file of a layout takes, but for its header."""
        m = min(self.part, self.n)
        return m * self.bits // 8 if layout == "rows" else -(-m // BLOCK_CODES) * new_planes(self.bits, 1).nbytes


class Build:
    """A folder of parts, and the manifest of those that are done."""

    def __init__(self, folder: Path, codes: Codes) -> None:
        self.codes, self.folder, self._manifest = codes, folder, folder / "manifest.json"
        self.done: dict[str, dict[str, Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if self._manifest.exists():
            known = json.loads(self._manifest.read_text())
            if known["codes"] != asdict(codes):
                raise click.ClickException(f"expected {folder} to hold parts of {asdict(codes)}, got {known['codes']}")
            self.done = known["parts"]

    def paths(self, layout: str) -> list[Path]:
        """Return the files of a layout."""
        return [self.folder / f"{layout}-{i:05}.index" for i in range(len(self.codes.firsts))]

    def make(self, layouts: Sequence[str]) -> None:
        """Make the parts that are not done."""
        todo = [(x, i, path) for x in layouts for i, path in enumerate(self.paths(x)) if not self._is_done(path)]
        needed = sum(self.codes.file_bytes(layout) for layout, _, _ in todo) + SPARE_BYTES
        if todo and (free := shutil.disk_usage(self.folder).free) < needed:
            raise click.ClickException(f"expected {needed} bytes to be free for {self.folder}, got {free}")
        with click.progressbar(todo, label=f"making {len(todo)} parts") as bar:
            for layout, i, path in bar:
                self._make_part(layout, i, path)

    def _is_done(self, path: Path) -> bool:
        return path.name in self.done and path.exists() and path.stat().st_size == self.done[path.name]["bytes"]

    def _make_part(self, layout: str, i: int, path: Path) -> None:
        def make() -> None:
            index = fh.FlatIndex(self.codes.bits, layout=layout)
            index.add(self.codes.draw(i))
            index.save(path)

        took = timed(make)
        self.done[path.name] = {"bytes": path.stat().st_size, "ms": took.wall, "processor_ms": took.processor}
        self.done[path.name]["peak_bytes"] = peak_bytes()
        with replacing(self._manifest) as unfinished:
            unfinished.write_text(json.dumps({"codes": asdict(self.codes), "parts": self.done}, indent=1) + "\n")

    def facts(self, layout: str) -> dict[str, Any]:
        """Return what the files of a layout take, and what making them took, over all runs."""
        parts = [self.done[path.name] for path in self.paths(layout)]
        return {
            "files": len(parts),
            "bytes": sum(part["bytes"] for part in parts),
            "build_ms": sum(part["ms"] for part in parts),
            "build_processor_ms": sum(part["processor_ms"] for part in parts),
            "build_peak_bytes": max(part["peak_bytes"] for part in parts),
        }

    def delete(self) -> None:
        """Delete the folder's manifest and parts."""
        self._manifest.unlink()
        for layout in LAYOUTS:
            for path in self.paths(layout):
                path.unlink(missing_ok=True)


class Parts:
    """The files of a layout, mapped and searched as one index."""

    def __init__(self, codes: Codes, paths: Sequence[Path]) -> None:
        self.codes = codes
        self.indexes = [fh.load_index(path) for path in paths]

    def search(self, queries: np.ndarray, k: int, threads: int) -> fh.Hits:
        """Return the k nearest of all, ties by id."""
        found = []
        for first, index in zip(self.codes.firsts, self.indexes, strict=True):
            distances, ids = index.search(queries, k, threads=threads)
            found.append(fh.Hits(distances, np.where(ids < 0, -1, ids + first)))
        return fh.merge_hits(found, k)

    def needed(self, layout: str, queries: np.ndarray) -> list[np.ndarray]:
        """Return as many bytes of each file as a search needs, of planes for one query those of its rarer bit value."""
        contents = [index._contents.codes.memory.numpy().reshape(-1) for index in self.indexes]
        if layout == "rows" or len(queries) > 1:
            return contents
        ones, n_planes = int(np.bitwise_count(queries).sum()), new_planes(self.codes.bits, 0).shape[1]
        n_read = min(ones, self.codes.bits - ones) + n_planes - self.codes.bits
        return [content[: len(content) * n_read // n_planes] for content in contents]


def draw_queries(codes: Codes, q: int) -> np.ndarray:
    """Return random queries, every second of which is a code of the first part with a sixteenth of its bits flipped."""
    rng = np.random.default_rng([codes.seed, 2**31])
    queries = rng.integers(0, 256, (q, codes.bits // 8), dtype=np.uint8)
    database = codes.draw(0)
    near = database[rng.integers(0, len(database), len(queries[1::2]))]
    flipped = rng.permuted(np.tile(np.arange(codes.bits) < codes.bits // 16, (len(near), 1)), axis=1)
    queries[1::2] = near ^ np.packbits(flipped, axis=1)
    return queries


def nearest_by_counting(codes: Codes, queries: np.ndarray, k: int, block: int = 2**18) -> np.ndarray:
    """Return distances and ids of the k nearest, [2, q, k], ties by id, from the codes as they are drawn."""
    best = np.full((len(queries), k), np.iinfo(np.int64).max)  # distances above, ids below
    for i, first in enumerate(codes.firsts):
        words = codes.draw(i).view(np.uint64)
        for start in range(0, len(words), block):
            for row, query in enumerate(queries.view(np.uint64)):
                distances = np.bitwise_count(words[start : start + block] ^ query).sum(1, dtype=np.uint16)
                near = np.flatnonzero(distances <= best[row, -1] >> _ID_BITS)
                keys = distances[near].astype(np.int64) << _ID_BITS | near + (first + start)
                best[row] = np.sort(np.concatenate([best[row], keys]))[:k]
    return np.stack([best >> _ID_BITS, best & (1 << _ID_BITS) - 1])


def peak_bytes() -> int:
    """Return the most memory that this process had at a time, pages of mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Timed(NamedTuple):
    """What a call takes in milliseconds: of the clock, and of all processors, which neighbours add less to."""

    wall: float
    processor: float


def timed(function: Callable[[], Any]) -> Timed:
    """Call a function."""
    start, processor_start = perf_counter(), process_time()
    function()
    return Timed(1e3 * (perf_counter() - start), 1e3 * (process_time() - processor_start))


def measure(
    parts: Parts, layout: str, queries: np.ndarray, k: int, rounds: int, threads: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the row of a batch, and distances and ids, [2, q, k], of its first and its last query."""
    first = timed(lambda: parts.search(queries, k, threads))
    contents = parts.needed(layout, queries)
    searches, reads = [], []
    for _ in range(rounds):  # in turns, as neighbours of a machine come and go
        searches.append(timed(lambda: parts.search(queries, k, threads)))
        reads.append(timed(lambda: [read(content, threads) for content in contents]))
    row: dict[str, Any] = {"layout": layout, "queries": len(queries), "first_ms": first.wall}
    row |= {"read_bytes": sum(x.nbytes for x in contents), "peak_bytes": peak_bytes()}
    for name, times in (("search", searches), ("read", reads)):
        row |= {f"{name}_ms": min(x.wall for x in times), f"{name}_processor_ms": min(x.processor for x in times)}
        row[f"{name}_median_ms"] = statistics.median(x.wall for x in times)
    return row, np.stack(parts.search(ends_of(queries), k, threads))


def measure_all(
    build: Build, layouts: Sequence[str], batches: Sequence[int], k: int, rounds: int, threads: int
) -> list[dict[str, Any]]:
    """Return a row for each batch of each layout; what was found has been compared with a count."""
    drawn = [draw_queries(build.codes, q) for q in batches]
    rows, found = [], []
    for layout in layouts:
        parts = Parts(build.codes, build.paths(layout))
        for queries in drawn:
            row, hits = measure(parts, layout, queries, k, rounds, threads)
            rows.append(row)
            found.append(hits)
        del parts
    expected = nearest_by_counting(build.codes, np.concatenate([ends_of(queries) for queries in drawn]), k)
    if not np.array_equal(np.concatenate(found, axis=1), np.concatenate([expected] * len(layouts), axis=1)):
        raise click.ClickException("expected the hits that a count finds, got others")
    return rows


def ends_of(queries: np.ndarray) -> np.ndarray:
    """Return the first and the last query."""
    return queries[sorted({0, len(queries) - 1})]


def machine(threads: int) -> dict[str, Any]:
    """Return what the measurements depend on."""
    models = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "threads": threads,
        "level": _core.active_isa(),
        "versions": f"fasthash {_core.__version__}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"torch {torch.__version__}",
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def markdown(result: dict[str, Any]) -> str:
    """Return the tables of a result."""
    codes, at = result["codes"], result["machine"]
    lines = [
        f"# {codes['n']:,} codes of {codes['bits']} bits on disk",
        "",
        "Written by `python -m benchmarks.billion`: random codes in files of indexes, mapped and searched exactly, the "
        f"{result['k']} nearest. Of every batch the first and the last query were compared with a count.",
        "",
        f"{at['processor']}, {at['processors']} processors, {at['memory_bytes'] / 1e9:.0f} GB; "
        f"{at['threads']} threads, level {at['level']}; {at['versions']}. {result['note']}".strip(),
        "",
        "| | files | GB | made in, s | processor time, s | peak memory meanwhile, GiB |",
        "| --- " * 6 + "|",
    ]
    for layout, facts in result["layouts"].items():
        took = f"{facts['build_ms'] / 1e3:.0f} | {facts['build_processor_ms'] / 1e3:.0f}"
        peak = f"{facts['build_peak_bytes'] / 2**30:.2f}"
        lines.append(f"| {layout} | {facts['files']} | {facts['bytes'] / 1e9:.2f} | {took} | {peak} |")
    lines += [
        "",
        "Milliseconds. The first search maps the files' pages and reads from the disk what is not in the system's "
        "cache, the others find them. A plain read, in turns with the searches, takes as many bytes as a search needs: "
        "of planes, for one query, those of its rarer bit value. Processor time is the sum over threads. Peak memory "
        "is that of the process, nearly all of it mapped pages of the files, which are that cache.",
        "",
        "| | queries | first | least | median | processor time | plain read (GB) | its processor time "
        "| times the read | in processor time | peak memory, GiB |",
        "| --- " * 11 + "|",
    ]
    for row in result["rows"]:
        search = " | ".join(
            f"{row[x]:.0f}" for x in ("first_ms", "search_ms", "search_median_ms", "search_processor_ms")
        )
        plain = f"{row['read_ms']:.0f} ({row['read_bytes'] / 1e9:.2f}) | {row['read_processor_ms']:.0f}"
        ratios = (row["search_ms"] / row["read_ms"], row["search_processor_ms"] / row["read_processor_ms"])
        ends = f"{ratios[0]:.2f} | {ratios[1]:.2f} | {row['peak_bytes'] / 2**30:.2f}"
        lines.append(f"| {row['layout']} | {row['queries']} | {search} | {plain} | {ends} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--n", type=click.IntRange(1, 2**_ID_BITS), default=10**9, show_default=True, help="How many codes.")
@click.option("--bits", type=click.IntRange(64, 4096), default=64, show_default=True, help="A multiple of 64.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--part", type=click.IntRange(1), default=5 * 10**7, show_default=True, help="Codes a file, which memory is for."
)
@click.option("--layout", "layouts", type=click.Choice(LAYOUTS), multiple=True, default=LAYOUTS, show_default=True)
@click.option("--queries", "batches", type=click.IntRange(1), multiple=True, default=(1, 100), show_default=True)
@click.option("-k", type=click.IntRange(1), default=100, show_default=True, help="How many of the nearest codes.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=_core.default_threads(), show_default=True)
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path), default="out/billion", show_default=True,
    help="Of the files.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default="out/billion.md", show_default=True,
    help="The result; as JSON beside it.",
)  # fmt: skip
@click.option("--note", default="", help="A sentence about the machine for the result.")
@click.option("--delete", is_flag=True, help="Delete the files when all is measured.")
def main(
    n: int, bits: int, seed: int, part: int, layouts: Sequence[str], batches: Sequence[int], k: int, rounds: int,
    threads: int, folder: Path, out: Path, note: str, delete: bool,
) -> None:  # fmt: skip
    """Make, index and search many codes on disk; run again after an interruption, go on."""
    if bits % 64:
        raise click.BadParameter(f"expected a multiple of 64, got {bits}", param_hint="--bits")
    if k > n:
        raise click.BadParameter(f"expected at most --n, {n}, got {k}", param_hint="-k")
    codes = Codes(n, bits, seed, part)
    build = Build(folder, codes)
    build.make(layouts)
    result: dict[str, Any] = {"codes": asdict(codes), "k": k, "machine": machine(threads), "note": note}
    result["layouts"] = {layout: build.facts(layout) for layout in layouts}
    result["rows"] = measure_all(build, layouts, batches, k, rounds, threads)
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in ((out, markdown(result)), (out.with_suffix(".json"), json.dumps(result, indent=1) + "\n")):
        with replacing(path) as unfinished:
            unfinished.write_text(text)
    click.echo(markdown(result))
    if delete:
        build.delete()


if __name__ == "__main__":
    main()
