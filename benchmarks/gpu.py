"""The GPU half, proven and timed by one command.

`python -m benchmarks.gpu` (from the repository's root, on a machine with a CUDA device; a few minutes, no network)
checks every kernel at full size against integer or float64 references, with outputs poisoned beforehand, and that it
may be captured in a CUDA graph; then times the kernels beside torch's usual ways and two measured ceilings. It writes
gpu.json and gpu.md to benchmarks/results and ends with an error if a check failed.

`--quick` runs all of it at small sizes, on a CPU where there is no GPU, to see that the command itself works.
"""

from __future__ import annotations

import json
import math
import os
import platform
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from unittest import mock

import click
import torch

import fasthash as fh
from fasthash.hashers import H2Q
from fasthash.ops import hamming, householder, packing, wasserstein

from .bench_h2q import clustered

LONG_MS = 500  # a call of this length is timed three times only
LIMIT_ERROR = 1e-5  # of float32 results against float64, relative, by norm


@dataclass
class Row:
    """A timed row of a group of rows that do the same work."""

    group: str
    row: str
    min_ms: float
    median_ms: float
    graph_ms: float | None = None  # in a CUDA graph, without what Python and launches cost
    floor_ms: float | None = None  # what the device's measured ceilings allow
    wanted: str = ""


@dataclass
class Check:
    """What was compared, and the traceback where it failed."""

    check: str
    error: str = ""


class Bench:
    """Collects rows and checks on one device."""

    def __init__(self, device: torch.device, quick: bool) -> None:
        self.device, self.quick = device, quick
        self.rows: list[Row] = []
        self.checks: list[Check] = []
        self.copy_rate = self.product_rate = 0.0

    def sized(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @contextmanager
    def check(self, what: str) -> Iterator[None]:
        """Run a check on poisoned memory: what torch.empty returns is NaN or the largest integer."""
        torch.use_deterministic_algorithms(True, warn_only=True)
        error = ""
        try:
            yield
            self.synchronize()
        except Exception:  # the others are still worth the device's time; main fails at the end
            error = traceback.format_exc()
        finally:
            torch.use_deterministic_algorithms(False)
        self.checks.append(Check(what, error))
        click.echo(f"{'FAILED' if error else 'ok    '} {what}\n{error}".rstrip())

    def time(self, group: str, name: str, function: Callable[[], object], graph: bool = False, **info) -> float:
        """Add a row and return its least milliseconds, or infinity where the function failed."""
        try:
            row = Row(group, name, *self._milliseconds(function), **info)
            if graph and self.device.type == "cuda":
                from triton.testing import do_bench_cudagraph

                row.graph_ms = do_bench_cudagraph(function, return_mode="median")
        except Exception:  # as above
            self.checks.append(Check(f"timing {group}: {name}", traceback.format_exc()))
            click.echo(self.checks[-1].error)
            return math.inf
        self.rows.append(row)
        click.echo(f"{row.median_ms:12.4f} ms  {group}: {name}")
        return row.min_ms

    def floor_ms(self, n_bytes: int) -> float | None:
        """Return how long the device copies as many bytes, or None where its copy failed."""
        return 1e3 * n_bytes / self.copy_rate if self.copy_rate else None

    def _milliseconds(self, function: Callable[[], object]) -> tuple[float, float]:
        """The least and the median; by the device's clock, or by the host's where that does not matter."""

        def once() -> float:
            self.synchronize()
            start = perf_counter()
            function()
            self.synchronize()
            return 1e3 * (perf_counter() - start)

        once()  # compiles
        first = once()
        if self.device.type == "cuda" and first < LONG_MS:
            from triton.testing import do_bench

            low, median = do_bench(function, quantiles=[0.0, 0.5])
            return low, median
        times = sorted([first, once(), once()])
        return times[0], times[1]

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def normal(self, *shape: int) -> torch.Tensor:
        generator = torch.Generator(self.device).manual_seed(0)
        return torch.randn(shape, generator=generator, device=self.device)

    def codes(self, n: int, n_bits: int, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator(self.device).manual_seed(seed)
        return torch.randint(0, 256, (n, n_bits // 8), generator=generator, device=self.device, dtype=torch.uint8)


def device_facts(device: torch.device) -> dict[str, object]:
    facts = {name: version(name) for name in ("torch", "triton", "numpy")} | {
        "fasthash": fh.__version__,
        "python": platform.python_version(),
    }
    if device.type != "cuda":
        return facts | {"device": "a CPU: no speed of a GPU is in this file"}
    properties = torch.cuda.get_device_properties(device)
    return facts | {
        "device": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
    }


def ceilings(bench: Bench) -> None:
    """Measure a large copy, in bytes read and written, and a large matrix product."""
    source = bench.normal(bench.sized(2**30, 2**16))
    target = torch.empty_like(source)
    least = bench.time("ceilings", f"copy of {source.nbytes / 1e9:.1f} GB", lambda: target.copy_(source))
    bench.copy_rate = 2 * source.nbytes / least * 1e3
    n = bench.sized(8192, 64)
    a = bench.normal(n, n).bfloat16()
    bench.product_rate = 2 * n**3 / bench.time("ceilings", f"bfloat16 matrix product, {n} x {n}", lambda: a @ a) * 1e3


def assert_near(got: torch.Tensor, expected: torch.Tensor) -> None:
    error = float((got.double() - expected.double()).norm() / expected.double().norm())
    assert error <= LIMIT_ERROR, f"relative error {error:.2e}, at most {LIMIT_ERROR:.0e} expected"


def assert_repeats(function: Callable[[], torch.Tensor]) -> None:
    assert torch.equal(function(), function()), "two runs differ"


BITS_OF_BYTE = torch.tensor([bin(byte).count("1") for byte in range(256)], dtype=torch.int32)


def counted_topk(queries: torch.Tensor, codes: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Search by table look-up and torch.topk, query by query, part of the codes by part."""
    table, rows = BITS_OF_BYTE.to(codes.device), []
    part = 2**24
    for query in queries:
        best = torch.empty(0, dtype=torch.int64, device=codes.device)
        for first in range(0, len(codes), part):
            distances = table[(codes[first : first + part] ^ query).int()].sum(1)
            keys = distances << 40 | torch.arange(first, first + len(distances), device=codes.device)
            best = torch.cat([best, keys]).topk(min(k, len(best) + len(keys)), largest=False).values
        rows.append(best)
    keys = torch.stack(rows)
    return (keys >> 40).int(), keys & (2**40 - 1)


def torch_topk(queries: torch.Tensor, codes: torch.Tensor, n_bits: int, k: int) -> torch.Tensor:
    """The usual idiom: bits as +-1 in half precision, a matrix product and topk for a part of the codes at a time."""
    u, best = fh.unpack_bits(queries, n_bits).half(), None
    for part in codes.split(2**20):
        products = u @ fh.unpack_bits(part, n_bits).half().T
        values = products.topk(min(k, products.shape[1]), dim=1).values
        best = values if best is None else torch.cat([best, values], 1).topk(k, dim=1).values
    return ((n_bits - best) / 2).int()


def check_hamming(bench: Bench) -> None:
    n = bench.sized(10**7, 3000)
    for n_bits, k, q in ((16, 100, 70), (64, 1, 1), (64, 4096, 3), (72, 10, 200), (256, 1000, 64), (4096, 10, 2)):
        rows = max(2 * k, n * 64 // max(64, n_bits) // 4)
        codes, queries = bench.codes(rows, n_bits), bench.codes(q, n_bits, seed=1)
        with bench.check(f"hamming_topk, {n_bits} bits, {rows} codes, {q} queries, k={k}: counting, 3 queries"):
            distances, ids = hamming.hamming_topk(queries, codes, k)
            expected = counted_topk(queries[:3], codes, k)
            assert torch.equal(distances[:3], expected[0])
            assert torch.equal(ids[:3], expected[1])
        with bench.check(f"hamming_topk, {n_bits} bits, masked and all codes alike"):
            alike = codes[:1].repeat(rows, 1)
            mask = torch.arange(rows, device=bench.device) % 3 == 1
            distances, ids = hamming.hamming_topk(queries, alike, k, mask=mask)
            eligible = mask.nonzero()[:k, 0]
            assert torch.equal(ids[:, : len(eligible)], eligible.expand(q, -1))
            assert bool((ids[:, len(eligible) :] == -1).all())
    codes, queries = bench.codes(n, 64), bench.codes(3, 64, seed=1)
    with bench.check(f"hamming_radius and hamming_distance, 64 bits, {n} codes"):
        all_distances = hamming.hamming_distance(queries, codes)
        assert torch.equal(all_distances.sort(dim=1).values[:, :10], counted_topk(queries, codes, 10)[0])
        offsets, distances, ids = hamming.hamming_radius(queries, codes, 20)
        query = torch.repeat_interleave(torch.arange(3, device=bench.device), offsets.diff())
        assert torch.equal(all_distances[query, ids], distances)
        assert offsets[1:].tolist() == (all_distances <= 20).sum(1).cumsum(0).tolist()


def check_packing(bench: Bench) -> None:
    x = bench.normal(bench.sized(10**6, 500), 130)
    with bench.check(f"pack_bits and unpack_bits, {list(x.shape)}"):
        signs = torch.where(x > 0, 1.0, -1.0)
        assert torch.equal(packing.unpack_bits(packing.pack_bits(x), 130), signs)
        assert torch.equal(packing.pack_bits(x), packing.pack_bits(x, kernel="reference"))


def gradients(function: Callable[..., torch.Tensor], *tensors: torch.Tensor, **options) -> list[torch.Tensor]:
    """The value and the gradient in every argument of a function, against a fixed direction."""
    leaves = [x.detach().requires_grad_() for x in tensors]
    y = function(*leaves, **options)
    direction = torch.linspace(-1, 2, y.numel(), device=y.device, dtype=y.dtype).reshape(y.shape)
    return [y.detach(), *torch.autograd.grad(y, leaves, direction)]


def check_gradients(bench: Bench) -> None:
    """Check the training ops against float64: values, gradients, repeatability, replay in a graph."""
    tall, wide = bench.sized(65536, 300), bench.sized(512, 16)
    ties = (2 * bench.normal(tall, wide)).round()
    cases = [
        *(
            (f"hswd {n} x {m}, p={p}", wasserstein.hswd, [bench.normal(n, m)], {"p": p})
            for n, m in ((128, 64), (bench.sized(4096, 90), 128), (tall, wide))
            for p in (1, 2, 1.5)
        ),
        (f"hswd {tall} x {wide}, few values", wasserstein.hswd, [ties], {}),
        (
            "wasserstein_1d",
            wasserstein.wasserstein_1d,
            [bench.normal(bench.sized(4096, 90), 64), bench.normal(bench.sized(3000, 70), 64) + 1],
            {},
        ),
        *(
            (
                f"householder_apply {n} x {k}, transpose={transpose}",
                householder.householder_apply,
                [bench.normal(n, k), bench.normal(k, k)],
                {"transpose": transpose},
            )
            for n, k in ((128, 16), (128, 64), (bench.sized(5000, 150), 128), (128, bench.sized(512, 130)))
            for transpose in (False, True)
        ),
        ("householder_product", householder.householder_product, [bench.normal(bench.sized(128, 20), 128)], {}),
    ]
    for what, function, tensors, options in cases:
        with bench.check(f"{what}: float64, repeated"):
            results = gradients(function, *tensors, **options)
            expected = gradients(function, *(x.double() for x in tensors), kernel="reference", **options)
            for got, right in zip(results, expected, strict=True):
                assert_near(got, right)
            for got, again in zip(results, gradients(function, *tensors, **options), strict=True):
                assert torch.equal(got, again), "two runs differ"
        if bench.device.type == "cuda":
            with bench.check(f"{what}: in a CUDA graph"):
                check_graph(function, tensors, options)


def check_missed_brackets(bench: Bench) -> None:
    """Check columns too long for registers whose sample says nothing of them."""
    long_columns = import_module("fasthash.ops.wasserstein.kernel_triton_long")
    x = bench.normal(bench.sized(65536, 300), bench.sized(64, 4))
    expected = gradients(wasserstein.hswd, x.double(), kernel="reference")
    with bench.check("hswd, all brackets missed"), mock.patch.object(long_columns, "DEVIATIONS", 0):
        for got, right in zip(gradients(wasserstein.hswd, x), expected, strict=True):
            assert_near(got, right)


def check_graph(function: Callable[..., torch.Tensor], tensors: list[torch.Tensor], options: dict) -> None:
    """Capture value and gradients once; replay on other values."""
    inputs = [x.clone() for x in tensors]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        gradients(function, *inputs, **options)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = gradients(function, *inputs, **options)
    for x in inputs:
        x.copy_(x.flip(0) * 1.5)
    graph.replay()
    for got, right in zip(captured, gradients(function, *inputs, **options), strict=True):
        assert torch.equal(got, right), "a replay differs from a call"


def time_hamming(bench: Bench) -> None:
    n, k = bench.sized(10**9, 5000), 100
    codes, query = bench.codes(n, 64), bench.codes(1, 64, seed=1)
    group = f"1 query, {n:.0e} codes of 64 bits, k={k}".replace("e+0", "e")
    with bench.check(f"hamming_topk, {group}: counting"):
        for got, expected in zip(hamming.hamming_topk(query, codes, k), counted_topk(query, codes, k), strict=True):
            assert torch.equal(got, expected)
    floor = bench.floor_ms(codes.nbytes)
    bench.time(
        group, "fasthash", lambda: hamming.hamming_topk(query, codes, k), floor_ms=floor, wanted="2.4 ms on an H200"
    )
    del codes
    for n, q, n_bits in ((10**8, 1024, 64), (10**7, 1024, 64), (10**7, 1024, 256), (10**7, 32, 64)):
        n, q = bench.sized(n, 3000), bench.sized(q, 40)
        codes, queries = bench.codes(n, n_bits), bench.codes(q, n_bits, seed=1)
        group = f"{q} queries, {n:.0e} codes of {n_bits} bits, k={k}".replace("e+0", "e")
        with bench.check(f"hamming_topk, {group}: counting, 16 queries"):
            hits = hamming.hamming_topk(queries, codes, k)
            sample = torch.arange(0, q, max(1, q // 16), device=bench.device)
            for got, expected in zip(hits, counted_topk(queries[sample], codes, k), strict=True):
                assert torch.equal(got[sample], expected)
        wanted = "68 ms (1.5e12 distances/s) on an H200" if (n, n_bits) == (10**8, 64) else "10x torch"
        bench.time(group, "fasthash", lambda q=queries, c=codes: hamming.hamming_topk(q, c, k), wanted=wanted)
        if n <= 10**7:
            bench.time(
                group, "torch: half-precision product and topk",
                lambda q=queries, c=codes, b=n_bits: torch_topk(q, c, b, k),
            )  # fmt: skip
            time_faiss(bench, group, codes, queries, k)


def time_streaming(bench: Bench) -> None:
    """Search codes in the memory of the CPU, which a GPU copies as it searches."""
    n, k = bench.sized(10**8, 3000), 100
    codes, queries = bench.codes(n, 64), bench.codes(bench.sized(1024, 20), 64, seed=1)
    expected = hamming.hamming_topk(queries, codes, k)
    kept = codes.cpu().pin_memory() if bench.device.type == "cuda" else codes
    halves = [codes[: n // 2], codes[n // 2 :]]
    group = f"{len(queries)} queries, {n:.0e} codes of 64 bits, k={k}, by where the codes are".replace("e+0", "e")
    for name, given in (("one array on the device", codes), ("two arrays", halves), ("memory of the CPU", kept)):
        with bench.check(f"hamming_topk, {group}: {name}"):
            for got, right in zip(hamming.hamming_topk(queries, given, k), expected, strict=True):
                assert torch.equal(got, right)
        bench.time(group, name, lambda given=given: hamming.hamming_topk(queries, given, k))


def time_filters(bench: Bench) -> list[dict]:
    """Time both filters at every width; return the table's entries with the number of queries that parts them."""
    kernel_triton = import_module("fasthash.ops.hamming.kernel_triton")
    entries, numbers = [], (2,) if bench.quick else (4, 8, 16, 32, 64)
    for entry in kernel_triton.TUNING["default"][: 1 if bench.quick else None]:
        n_bits, faster = entry["up_to_bits"], []
        codes = bench.codes(bench.sized(10**9 // n_bits, 100), n_bits)
        for q in numbers:
            queries, times = bench.codes(q, n_bits, seed=1), {}
            group = f"{q} queries, {len(codes):.0e} codes of {n_bits} bits, k=10, by filter".replace("e+0", "e")
            for name, from_queries in (("popcount", 2**31), ("int8 product", 1)):
                forced = {**entry, "product": {**entry["product"], "from_queries": from_queries}}
                with mock.patch.object(kernel_triton, "_tuned", return_value=forced):
                    times[name] = bench.time(
                        group, name, lambda q=queries, c=codes: kernel_triton.hamming_topk(q, c, 10)
                    )
            faster.append(times["int8 product"] < times["popcount"])
        slower = [q for q, product in zip(numbers, faster, strict=True) if not product]
        entries.append({**entry, "product": {**entry["product"], "from_queries": 2 * max(slower, default=1)}})
    return entries


def time_faiss(bench: Bench, group: str, codes: torch.Tensor, queries: torch.Tensor, k: int) -> None:
    """FAISS's search on a GPU, where a FAISS built for one is installed."""
    if find_spec("faiss") is None or bench.device.type != "cuda":
        return
    import faiss

    if not hasattr(faiss, "GpuIndexBinaryFlat"):
        return
    index = faiss.GpuIndexBinaryFlat(faiss.StandardGpuResources(), codes.shape[1] * 8)
    index.add(codes.cpu().numpy())
    asked = queries.cpu().numpy()
    bench.time(group, "FAISS GpuIndexBinaryFlat", lambda: index.search(asked, k))


def two_sorts(x: torch.Tensor) -> torch.Tensor:
    """The distance as published with its paper: the target drawn anew, both sorted."""
    target = torch.randn_like(x).sign()
    return (target.sort(dim=0).values - x.sort(dim=0).values).square().mean()


def merged_reflections(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """FastH++: neighbouring products I - Y^T W merged in pairs; the number of reflections is a power of two."""
    y = v[:, None]
    w = 2 * y / y.square().sum(2, keepdim=True)
    while len(y) > 1:
        w = torch.cat([w[::2] - w[::2] @ y[1::2].mT @ w[1::2], w[1::2]], 1)
        y = torch.cat([y[::2], y[1::2]], 1)
    return x - (x @ w[0].T) @ y[0]


def forward_and_backward(function: Callable[..., torch.Tensor], *leaves: torch.Tensor) -> Callable[[], object]:
    y = function(*leaves)
    dy = torch.ones_like(y)
    return lambda: torch.autograd.grad(function(*leaves), leaves, dy)


def time_training(bench: Bench) -> None:
    for n, m, wanted in (
        (128, 64, "15 us on an H200"),
        (bench.sized(4096, 100), 128, "40 us on an H200"),
        (bench.sized(65536, 300), bench.sized(512, 16), "70 % of bandwidth; 20x the two sorts"),
    ):
        x = bench.normal(n, m).requires_grad_()
        group = f"hswd forward and backward, {n} x {m} float32"
        info = {"floor_ms": bench.floor_ms(2 * x.nbytes), "wanted": wanted}
        bench.time(group, "fasthash", forward_and_backward(wasserstein.hswd, x), graph=True, **info)
        bench.time(group, "torch: two sorts", forward_and_backward(two_sorts, x), graph=True)
    for k in (16, 64, 128):
        x, v = bench.normal(128, k), bench.normal(k, k).requires_grad_()
        with bench.check(f"merged reflections (the baseline), k={k}: float64"):
            expected = householder.householder_apply(x.double(), v.detach().double(), kernel="reference")
            assert_near(merged_reflections(x.double(), v.detach().double()), expected)
        x.requires_grad_()
        group = f"householder_apply forward and backward, 128 x {k} float32"
        wanted = "30 us on an H200; 10x FastH++" if k == 64 else ""
        bench.time(
            group, "fasthash", forward_and_backward(householder.householder_apply, x, v), graph=True, wanted=wanted
        )
        bench.time(group, "torch: FastH++", forward_and_backward(merged_reflections, x, v), graph=True)


def time_h2q(bench: Bench) -> None:
    n, k, restarts = bench.sized(20_000, 256), bench.sized(64, 8), bench.sized(132, 2)
    x = clustered(n, k).to(bench.device)

    def fit(restarts: int, epochs: int, rows: torch.Tensor) -> H2Q:
        return H2Q(k, restarts=restarts, epochs=epochs, batch_size=128).fit(rows)

    with bench.check("H2Q: the objective of a CPU's training, within 1 %"):
        epochs = bench.sized(50, 5)
        ours, cpus = (fit(1, epochs, rows).objective_ for rows in (x, x.cpu()))
        assert abs(ours - cpus) < 0.01 * cpus, f"{ours} and {cpus}"
    epochs = bench.sized(300, 2)
    group = f"H2Q fit, {n} x {k}, {epochs} epochs, batches of 128"
    bench.time(group, f"fasthash, {restarts} restarts", lambda: fit(restarts, epochs, x), wanted="3 s on an H200")
    bench.time(group, "fasthash, 1 restart", lambda: fit(1, epochs, x))


def keep_tuning(capability: str, entries: list[dict]) -> None:
    """Put the entries of a kind of device into the table that the kernels read."""
    path = Path(hamming.__file__).with_name("tuning.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), capability: entries}, indent=2) + "\n")


def markdown(facts: dict[str, object], bench: Bench) -> str:
    failed = [check.check for check in bench.checks if check.error]
    lines = [
        "# GPU",
        "",
        "Written by `python -m benchmarks.gpu`. " + ", ".join(f"{name} {value}" for name, value in facts.items()) + ".",
        f"{len(bench.checks) - len(failed)} of {len(bench.checks)} checks passed, on poisoned memory, against integer "
        "or float64 references; gpu.json lists them." + (f" FAILED: {'; '.join(failed)}." if failed else ""),
        f"Ceilings: copy {bench.copy_rate / 1e12:.3f} TB/s (read and written), bfloat16 product "
        f"{bench.product_rate / 1e12:.1f} TFLOP/s. Floors are bytes read and written once at the copy's rate.",
    ]
    for group in dict.fromkeys(row.group for row in bench.rows):
        lines += ["", f"## {group}", "", "| | min ms | median ms | in a graph, ms | floor ms | wanted |"]
        lines.append("| --- " * 6 + "|")
        for row in bench.rows:
            if row.group == group:
                numbers = (row.min_ms, row.median_ms, row.graph_ms, row.floor_ms)
                cells = " | ".join("" if x is None else f"{x:.4f}" for x in numbers)
                lines.append(f"| {row.row} | {cells} | {row.wanted} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--quick", is_flag=True, help="Small sizes, to see that everything runs; on a CPU where there is no GPU.")
@click.option("--tune", is_flag=True, help="Write from how many queries products are faster here to tuning.json.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("benchmarks/results"))
def main(quick: bool, tune: bool, out: Path) -> None:
    """Check and time every GPU kernel."""
    if tune and (quick or not torch.cuda.is_available()):
        raise click.ClickException("expected a CUDA device and full sizes to tune by")
    if not quick and not torch.cuda.is_available():
        raise click.ClickException("expected a CUDA device, found none; --quick runs small sizes on a CPU")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bench, start = Bench(device, quick), perf_counter()
    for step in (
        ceilings, check_packing, check_hamming, check_gradients, check_missed_brackets,
        time_hamming, time_streaming, time_training, time_h2q,
    ):  # fmt: skip
        step(bench)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    if device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        entries = time_filters(bench)
        if tune and not any(check.error for check in bench.checks):
            keep_tuning("{}.{}".format(*torch.cuda.get_device_capability()), entries)
    facts = device_facts(device) | {"seconds": round(perf_counter() - start)}
    out.mkdir(parents=True, exist_ok=True)
    table = markdown(facts, bench)
    rates = {"copy_bytes_per_s": bench.copy_rate, "product_flop_per_s": bench.product_rate}
    written = {"facts": facts, "ceilings": rates, "checks": bench.checks, "rows": bench.rows}
    (out / "gpu.json").write_text(json.dumps(written, default=asdict, indent=1) + "\n")
    (out / "gpu.md").write_text(table)
    click.echo(table)
    failed = sum(bool(check.error) for check in bench.checks)
    if failed:
        raise click.ClickException(f"{failed} of {len(bench.checks)} checks failed")


if __name__ == "__main__":
    main()
