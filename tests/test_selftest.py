from __future__ import annotations

import importlib
import os
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner

from fasthash import selftest
from fasthash.ops import ROOMS
from fasthash.ops.registry import Kernel


def kernels(room):
    return importlib.import_module(f"fasthash.ops.{room}").KERNELS


def run(*arguments):
    result = CliRunner().invoke(selftest.main, arguments)
    lines = [line.split(maxsplit=2) for line in result.output.splitlines()]
    return result.exit_code, {(room, kernel): verdict for room, kernel, verdict in lines}


def test_every_kernel_is_listed_and_agrees():
    code, verdicts = run()
    assert code == 0
    assert set(verdicts) == {(room, kernel) for room in ROOMS for kernel in kernels(room)}
    for (room, name), verdict in verdicts.items():
        kernel = kernels(room)[name]
        if kernel.package is None and not kernel.missing():
            assert verdict.startswith("agrees")
        else:
            assert verdict in (kernel.missing(), "left out without --all")


@pytest.mark.slow
def test_numba_is_checked_on_demand():
    pytest.importorskip("numba")
    code, verdicts = run("--all")
    assert code == 0
    assert verdicts["hamming", "numba"].startswith("agrees")


@pytest.mark.parametrize(
    ("room", "op", "index"),
    [
        ("packing", "pack_projections", None),
        ("hamming", "hamming_topk", 1),
        ("householder", "householder_apply", 0),
        ("ranking", "distance_counts", 1),
    ],
)
def test_a_kernel_that_disagrees_is_named(monkeypatch, room, op, index):
    broken = kernels(room)["cpu-baseline"]
    function = Kernel.function

    def tampered(kernel, name):
        run = function(kernel, name)
        if kernel is not broken or name != op:
            return run

        def wrong(*args):
            results = run(*args)
            (results if index is None else results[index]).flatten()[:1].add_(1)
            return results

        return wrong

    monkeypatch.setattr(Kernel, "function", tampered)
    code, verdicts = run()
    assert code == 1
    wrong = [place for place, verdict in verdicts.items() if verdict.startswith("DISAGREES with the reference by")]
    assert wrong == [(room, "cpu-baseline")]


def test_a_bad_environment_is_told_plainly():
    for module, options in (("fasthash.selftest", []), ("fasthash", ["info"])):
        for variable, value in (("FASTHASH_ISA", "sse9"), ("FASTHASH_THREADS", "0")):
            done = subprocess.run(
                [sys.executable, "-m", module, *options],
                env={**os.environ, variable: value},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 1
            assert done.stderr.startswith(f"Error: {variable}: expected")


def test_errors_of_every_kind_count():
    x = torch.tensor([1.0, -2.0])
    assert selftest.largest_error((x,), (x,)) == 0
    assert selftest.largest_error((x + 1,), (x,)) == pytest.approx(0.5)
    assert selftest.largest_error((x[:1],), (x,)) == float("inf")
    assert selftest.largest_error((x * torch.nan,), (x,)) == float("inf")


def test_every_kernel_agrees_whatever_torchs_defaults_are():
    _, expected = run()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            code, verdicts = run()
    finally:
        torch.set_default_dtype(torch.float32)
    assert code == 0
    assert verdicts.keys() == expected.keys()
