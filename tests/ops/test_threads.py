"""Searches where the system has no more threads to give."""

from __future__ import annotations

import subprocess
import sys

import pytest

PREPARED = """
import resource
import numpy as np
import fasthash as fh

codes = np.random.default_rng(0).integers(0, 256, (100_000, 8), dtype=np.uint8)
queries = codes[:50]
expected = fh.hamming_topk(queries, codes, 10, threads=1).ids
"""
NO_THREADS = """
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (40 << 20), used + (40 << 20)))
for _ in range(4):  # the stacks of 64 threads would take 512 MiB
    assert (fh.hamming_topk(queries, codes, 10, threads=64).ids == expected).all()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_a_search_goes_on_with_the_threads_there_are():
    done = subprocess.run([sys.executable, "-c", PREPARED + NO_THREADS], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
