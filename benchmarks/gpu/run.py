"""Steps as processes of their own, which a fault or a hang of one cannot take along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterable
from time import monotonic

import click
import torch

from benchmarks.gpu.bench import Bench, device_facts
from benchmarks.gpu.records import Records
from benchmarks.gpu.steps import OPTIONAL, STEPS

LEAST_SECONDS = 5  # in which a step may find out something


def run_here(steps: Iterable[str], records: Records, quick: bool) -> None:
    """Run steps in this process."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for step in steps:
        records.add(step, "begin", facts=device_facts(device), quick=quick)
        bench = Bench(device, quick, step, records)
        start = monotonic()
        try:
            (STEPS | OPTIONAL)[step].run(bench)
        except Exception:
            bench.add_check(step, traceback.format_exc())
        records.add(step, "end", status="failed" if bench.failed else "passed", seconds=round(monotonic() - start, 1))


def run_steps(steps: Iterable[str], records: Records, quick: bool, end: float | None) -> None:
    """Run each step in a process until it ends, its time is up or that of all is, `end` of the monotonic clock."""
    for step in steps:
        start, limit = monotonic(), (STEPS | OPTIONAL)[step].seconds
        if end is not None:
            limit = min(limit, end - start)
        if limit < LEAST_SECONDS:
            click.echo(f"not begun: {step}")
            continue
        click.echo(f"== {step}")
        arguments = [step, "--here", "--out", records.folder, *(["--quick"] if quick else [])]
        status = run_process([sys.executable, "-u", "-m", "benchmarks.gpu", *map(str, arguments)], limit)
        if status:
            records.add(step, "end", status=status, seconds=round(monotonic() - start, 1))
            click.echo(f"{step}: {status}")


def run_process(command: list[str], seconds: float) -> str:
    """Return how a process ended that did not end well, or nothing."""
    process = subprocess.Popen(command, process_group=0)  # with what it starts; in the session, whose end is its own
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"ended after {seconds:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return f"exit status {code}" if code else ""
