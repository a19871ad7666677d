"""Forks again and again while a thread is in the calls of the compiled core; every child makes each of them.

Usage: fork_while_searching.py NUMBER-OF-FORKS; it fails where a child does, or hangs.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
import traceback

import numpy as np
from compiled_calls import compiled_calls


def search_for_ever():
    while True:
        for call in CALLS.values():
            call()


def same(found, expected):
    return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def child():
    name = ""
    signal.alarm(60)  # kills a child that waits for ever
    try:
        for name, call in CALLS.items():
            if not same(call(), EXPECTED[name]):
                raise ValueError("expected what the call gives without a fork")
    except BaseException:
        print(name, traceback.format_exc(), file=sys.stderr)
        os._exit(1)
    os._exit(0)


CALLS = compiled_calls(2)
EXPECTED = {name: call() for name, call in CALLS.items()}
threading.Thread(target=search_for_ever, daemon=True).start()
statuses = []
for _ in range(int(sys.argv[1])):
    time.sleep(random.random() * 0.01)
    process = os.fork()
    if process == 0:
        child()
    statuses.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
sys.exit(f"children ended with {statuses}" if any(statuses) else 0)
