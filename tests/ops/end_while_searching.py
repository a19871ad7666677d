"""Ends while daemon threads are in every call of the compiled core: at once, or after the interpreter has begun to end.

Usage: end_while_searching.py SECONDS-OF-ENDING
"""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
from compiled_calls import compiled_calls

from fasthash import _core


def for_ever(call):
    while True:
        call()


def search_for_long(threads):
    """Be interrupted by the polls of signals many times, in a call that does not return before the process ends."""
    codes, queries = np.zeros((3_000_000, 8), np.uint8), np.full((30_000, 8), 255, np.uint8)
    hits = np.empty((30_000, 1), np.int32), np.empty((30_000, 1), np.int64)
    _core.hamming_topk(queries, codes, 1, None, *hits, threads, "baseline")


class Ending:
    def __del__(self, sleep=time.sleep, seconds=float(sys.argv[1])):
        sleep(seconds)  # lets the other threads ask for the GIL of an interpreter that ends


calls = [call for threads in (1, 2) for call in compiled_calls(threads).values()]
for call in calls:
    threading.Thread(target=for_ever, args=(call,), daemon=True).start()
for threads in (1, 2):
    threading.Thread(target=search_for_long, args=(threads,), daemon=True).start()
time.sleep(0.2)
kept = sys.modules["kept"] = Ending()
