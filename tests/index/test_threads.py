"""Searches and changes from several threads, and forks in their midst."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fasthash as fh
from tests.index.conftest import random_codes

N = 3000


def test_a_search_finds_what_was_there_at_one_moment(make):
    """Every code that a batch brings has its number, and a batch comes and goes as a whole."""
    index, done = make(64), threading.Event()
    batches = {i: np.full((20, 8), i, np.uint8) for i in range(1, 60)}
    index.add(np.zeros((N, 8), np.uint8), np.arange(N) + 10**6)

    def change():
        for _ in range(3):
            for i, codes in batches.items():
                index.add(codes, 100 * i + np.arange(20)[::-1])
            for i in batches:
                index.remove(100 * i + np.arange(20))
        done.set()

    def search():
        rounds, complete = 0, True
        while not done.is_set() or rounds < 10:
            rounds += 1
            queries = np.concatenate([batches[i][:1] for i in (1, 30, 59)])
            offsets, distances, ids = index.radius_search(queries, 0)
            complete &= set(np.diff(offsets).tolist()) <= {0, 20} and not distances.any()
            complete &= set((ids // 100).tolist()) <= {1, 30, 59}
            hits = index.search(np.zeros((1, 8), np.uint8), N)
            complete &= hits.ids.tolist() == [list(range(10**6, 10**6 + N))]
            found = index.contains(100 * 30 + np.arange(20))
            complete &= found.all() or not found.any()
            ids = index.ids
            complete &= len(ids) == len(ids.unique())
        return complete

    with ThreadPoolExecutor(4) as pool:
        searches = [pool.submit(search) for _ in range(3)]
        pool.submit(change).result()
        assert all(found.result() for found in searches)
    assert index.ids.tolist() == list(range(10**6, 10**6 + N))


def test_changes_of_several_threads_are_made_one_after_the_other(make):
    index = make(32)

    def change(i):
        index.add(random_codes(50, seed=i), np.arange(50) * 7919 % 1000 + 1000 * i)
        index.upsert(random_codes(5, seed=100 + i), np.arange(5) * 7919 % 1000 + 1000 * i)
        return index.remove(np.arange(10, 40) * 7919 % 1000 + 1000 * i)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(change, range(40))) == [30] * 40
    assert len(index) == len(index.ids.unique()) == 40 * 20
    for i in range(40):
        np.testing.assert_array_equal(index.get(np.arange(5) * 7919 % 1000 + 1000 * i), random_codes(5, seed=100 + i))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # that it has several threads
def test_a_child_forked_at_any_moment_can_use_the_index(make):
    """While other threads change it, build its tables and hold its locks."""
    index, done = make(64), threading.Event()
    codes = np.random.default_rng(0).integers(0, 256, (20_000, 8), dtype=np.uint8)
    index.add(codes, np.random.default_rng(1).permutation(20_000))

    def change():
        new = 10**6
        while not done.is_set():
            index.add(codes[:50], np.arange(new, new + 50)[::-1])
            if make is fh.MultiIndex:
                index.build(threads=2)
            index.remove(np.arange(new, new + 50))
            new += 50

    def search():
        while not done.is_set():
            index.search(codes[:20], 10, threads=2)

    threads = [threading.Thread(target=target) for target in (change, search)]
    for thread in threads:
        thread.start()
    statuses = []
    try:
        for i in range(25):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    signal.alarm(60)
                    found = index.search(codes[i : i + 5], 1, threads=2)
                    index.add(codes[:3], [-5, -7, -6])
                    index.upsert(codes[3:4], [-7])
                    if make is fh.MultiIndex:
                        index.build(threads=2)
                    right = not found.distances.any() and (index.get([-5, -6, -7]) == codes[[0, 2, 3]]).all()
                    status = 0 if right and index.remove([-5, -6, -7]) == 3 else 2
                finally:
                    os._exit(status)
            statuses.append(os.waitpid(child, 0)[1])
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert statuses == [0] * 25
