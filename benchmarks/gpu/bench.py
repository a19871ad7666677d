"""How a step checks and times on a device."""

from __future__ import annotations

import platform
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from time import perf_counter

import click
import torch

import fasthash as fh
from benchmarks.gpu.records import Records

LONG_MS = 500  # a call of this length is timed three times only
CALLS = 1000  # one after the other, for the time of a call with what the host does
CALLS_MS = 2000  # that they may take
RISE_S = 0.2  # of work before a row, while the clocks of a device that idled rise


@dataclass
class Row:
    """A timed row of a group of rows that do the same work; milliseconds."""

    group: str
    row: str
    min_ms: float  # of single calls, by the device's clock, its cache flushed before each
    median_ms: float
    call_ms: float  # of many calls in a row, by the host's clock
    graph_ms: float | None = None  # in a CUDA graph, without what Python and launches cost
    n_bytes: int | None = None  # that have to be read or written, in all passes
    share: float | None = None  # of the rate of a copy that is wanted
    target_ms: float | None = None  # that is wanted of this device
    wanted: str = ""  # beside other rows

    @property
    def judged_ms(self) -> float:
        """What is compared with a target."""
        return self.call_ms if self.graph_ms is None else self.graph_ms


class Bench:
    """Measures one step on one device, and records it."""

    def __init__(self, device: torch.device, quick: bool, step: str, records: Records) -> None:
        self.device, self.quick, self.step, self.records = device, quick, step, records
        self.failed = False
        self._factor = torch.ones(0)

    def sized(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def target(self, **by_card: float) -> float | None:
        """Return the milliseconds wanted of this device, by a word of its name, or None for any other one."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        return None if self.quick else next((ms for card, ms in by_card.items() if card in name), None)

    @contextmanager
    def check(self, what: str) -> Iterator[None]:
        """Run a check on poisoned memory: what torch.empty returns is NaN or the largest integer."""
        torch.use_deterministic_algorithms(True, warn_only=True)
        error = ""
        try:
            yield
            self.synchronize()
        except Exception:  # the others are still worth the device's time; the command fails at the end
            error = traceback.format_exc()
        finally:
            torch.use_deterministic_algorithms(False)
        self.add_check(what, error)

    def add_check(self, what: str, error: str = "") -> None:
        self.failed |= bool(error)
        self.records.add(self.step, "check", check=what, error=error)
        click.echo(f"{'FAILED' if error else 'ok    '} {what}\n{error}".rstrip())

    def time(self, group: str, name: str, function: Callable[[], object], graph: bool = False, **info) -> Row | None:
        """Record a row, or, of a function that fails, a check that failed."""
        try:
            low, median = self._alone(function)
            row = Row(group, name, low, median, self._in_a_row(function, low), **info)
            if graph and self.device.type == "cuda":
                from triton.testing import do_bench_cudagraph

                self._rise()
                row.graph_ms = do_bench_cudagraph(function, return_mode="median")
        except Exception:  # as above
            self.add_check(f"timing {group}: {name}", traceback.format_exc())
            return None
        self.records.add(self.step, "row", **asdict(row))
        click.echo(f"{row.judged_ms:12.4f} ms  {group}: {name}")
        return row

    def _alone(self, function: Callable[[], object]) -> tuple[float, float]:
        """The least and the median of single calls; by the host's clock where that does not matter."""
        self._wall(function, 1)  # compiles
        first = self._wall(function, 1)
        self._rise()
        if self.device.type == "cuda" and first < LONG_MS:
            from triton.testing import do_bench

            low, median = do_bench(function, quantiles=[0.0, 0.5])
            return low, median
        times = sorted([first, self._wall(function, 1), self._wall(function, 1)])
        return times[0], times[1]

    def _in_a_row(self, function: Callable[[], object], expected_ms: float) -> float:
        """A call among many, which the host issues as fast as it can and the device takes as fast as it can."""
        self._rise()
        n = 3 if self.quick else max(3, min(CALLS, int(CALLS_MS / max(expected_ms, 1e-3))))
        return self._wall(function, n) / n

    def _wall(self, function: Callable[[], object], n: int) -> float:
        self.synchronize()
        start = perf_counter()
        for _ in range(n):
            function()
        self.synchronize()
        return 1e3 * (perf_counter() - start)

    def _rise(self) -> None:
        if self.device.type != "cuda":
            return
        if not len(self._factor):
            self._factor = self.normal(4096, 4096).bfloat16()
        end = perf_counter() + RISE_S
        while perf_counter() < end:
            self._factor @ self._factor
            self.synchronize()

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        generator = torch.Generator(self.device).manual_seed(0)
        return torch.randn(shape, generator=generator, device=self.device).to(dtype)

    def codes(self, n: int, n_bits: int, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator(self.device).manual_seed(seed)
        return torch.randint(0, 256, (n, n_bits // 8), generator=generator, device=self.device, dtype=torch.uint8)


def device_facts(device: torch.device) -> dict[str, object]:
    facts: dict[str, object] = {name: version(name) for name in ("torch", "triton", "numpy")}
    facts |= {"fasthash": fh.__version__, "python": platform.python_version()}
    if device.type != "cuda":
        return {"device": "a CPU"} | facts
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
    } | facts


# Of results against float64, relative, by norm.
LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def assert_near(got: torch.Tensor, expected: torch.Tensor) -> None:
    limit = LIMITS[got.dtype]
    error = float((got.double() - expected.double()).norm() / expected.double().norm())
    assert error <= limit, f"relative error {error:.2e}, at most {limit:.0e} expected"
