"""The steps, in the order of their worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.gpu import asymmetric, h2q, hamming, packing, pairs, ranks, training, use
from benchmarks.gpu.bench import Bench


@dataclass(frozen=True)
class Step:
    """What a step does, and the seconds after which it is ended."""

    run: Callable[[Bench], None]
    seconds: float


def ceilings(bench: Bench) -> None:
    """Measure a large copy, in bytes read and written, and a large matrix product."""
    source = bench.normal(bench.sized(2**30, 2**16))
    target = torch.empty_like(source)
    copy = bench.time("ceilings", f"copy of {source.nbytes / 1e9:.1f} GB", lambda: target.copy_(source))
    n = bench.sized(8192, 64)
    a = bench.normal(n, n).bfloat16()
    product = bench.time("ceilings", f"bfloat16 matrix product, {n} x {n}", lambda: a @ a)
    if copy is not None and product is not None:
        rates = {
            "copy_bytes_per_s": 2e3 * source.nbytes / copy.min_ms,
            "product_flop_per_s": 2e3 * n**3 / product.min_ms,
        }
        bench.records.add(bench.step, "ceilings", **rates)


def papers(bench: Bench) -> None:
    """Train the grid of the supervised papers on CIFAR-10, which lies where FASTHASH_DATA says."""
    from benchmarks.papers.supervised import main

    out = bench.records.folder / "papers"
    main(["cifar10", "--device", bench.device.type, "--out", str(out)], standalone_mode=False)


def end_to_end(bench: Bench) -> None:
    """Train the same losses end to end."""
    from benchmarks.papers.end_to_end import main

    out = bench.records.folder / "papers"
    arguments = ["cifar10", "--network", "resnet9", "--device", bench.device.type, "--out", str(out)]
    main(arguments, standalone_mode=False)


STEPS = {
    "ceilings": Step(ceilings, 60),
    "packing": Step(packing.check_and_time_packing, 90),
    "training": Step(training.time_training, 240),
    "hamming": Step(hamming.time_hamming, 180),
    "asymmetric": Step(asymmetric.time_asymmetric, 180),
    "pairs": Step(pairs.check_and_time_pairs, 180),
    "h2q": Step(h2q.time_h2q, 120),
    "sizes": Step(hamming.check_hamming, 120),
    "gradients": Step(training.check_gradients, 180),
    "brackets": Step(training.check_missed_brackets, 60),
    "steps": Step(use.check_training_steps, 180),
    "ranks": Step(ranks.check_ranks, 120),
    "mishaps": Step(use.check_what_goes_wrong, 60),
    "streaming": Step(hamming.time_streaming, 120),
    "filters": Step(hamming.time_filters, 180),
}
OPTIONAL = {  # run where they are named
    "papers": Step(papers, 24 * 3600),
    "end_to_end": Step(end_to_end, 24 * 3600),
}
