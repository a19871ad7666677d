"""Kill processes that save an index, and check after each that the file is the old index or the new one.

Prints a line a process: which of the two it left, or "neither".
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

import fasthash as fh
from fasthash.index import storage


def indexes(n):
    """Two indexes that differ in every section and in size."""
    rng = np.random.default_rng(0)
    for count in (n, n + n // 2):
        index = fh.FlatIndex(64)
        index.add(rng.integers(0, 256, (count, 8), dtype=np.uint8), ids=rng.permutation(count))
        yield index


def found(path, versions):
    index = fh.load_index(path, verify=True)
    for name, version in zip(("old", "new"), versions, strict=True):
        if len(index) == len(version) and bool(
            (index.codes == version.codes).all() and (index.ids == version.ids).all()
        ):
            return name
    return "neither"


def in_child(function):
    """Return the id of a process that runs a function."""
    child = os.fork()
    if child == 0:
        function()
        os._exit(0)
    return child


def kill_at_every_line(path):
    storage._PIECE_BYTES = 1000
    old, new = indexes(300)
    line, finished = 0, False
    while not finished:
        line += 1

        def save(last=line):
            lines = 0

            def trace(frame, event, argument):
                nonlocal lines
                if frame.f_code.co_filename != storage.__file__:
                    return None
                lines += event == "line"
                if lines == last:
                    os.kill(os.getpid(), signal.SIGKILL)
                return trace

            sys.settrace(trace)
            new.save(path)

        old.save(path)
        finished = os.waitpid(in_child(save), 0)[1] == 0
        print(found(path, (old, new)))


def kill_at_random(path, times=60):
    storage._PIECE_BYTES = 10_000
    old, new = indexes(50_000)
    old.save(path)
    for _ in range(times):

        def alternate():
            while True:
                new.save(path)
                old.save(path)

        child = in_child(alternate)
        time.sleep(random.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print(found(path, (old, new)))


if __name__ == "__main__":
    random.seed(0)
    path = Path(sys.argv[2])
    {"line": kill_at_every_line, "random": kill_at_random}[sys.argv[1]](path)
