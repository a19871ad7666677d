"""Searches and changes from several threads, and forks in their midst."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

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


@pytest.fixture
def two_threads():
    """Of torch, and no more of them after the test: many small operations on several wait for each other."""
    n = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(n)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_needs_no_threads_of_torch(make, tmp_path, monkeypatch, two_threads):
    """Which hang there once the parent has used them, in whatever is of 32,768 numbers or more."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # which is done by them
    n = 100_000
    codes = np.random.default_rng(0).integers(0, 256, (n, 8), dtype=np.uint8)
    ids = np.random.default_rng(1).permutation(n)
    queries = codes[:4000]

    def use(index, ids):
        index.remove(ids[:10])
        index.search(queries[::-1], 10, among=ids[10:50_000])
        index.search(strided, 10, mask=np.arange(len(index)) % 2 == 0)
        index.search(queries, 10, among=ids[:1000])
        index.radius_search(queries[:10], 40)
        index.remove(ids[: n // 3], ignore_missing=True)
        assert index.contains(ids).sum() == len(index)
        assert len(index.get(ids[n // 2 :])) == n // 2
        assert len(index.codes) == len(index.ids) == sum(len(i) for i, _ in index.batches())
        if not index._contents.next_id:
            assert index.upsert(codes, ids) == n - n // 3
            index.merge(other)
        index.save(tmp_path / "index")
        return fh.load_index(tmp_path / "index", verify=True)

    strided = torch.from_numpy(codes[:10_000].repeat(2, 1))[:, ::2]
    torch.rand(10**6).add(1).sum()
    other = make(64)
    other.add(codes, ids + n)
    for given in (ids, None):
        index = make(64)
        index.add(codes, given)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(60)
                loaded = use(index, np.arange(n) if given is None else ids)
                status = 0 if np.array_equal(loaded.codes, index.codes) else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
