"""fasthash in ann-benchmarks: exact search of bits; of vectors codes, asked for by real numbers, and reranking."""

from __future__ import annotations

import numpy as np
from ann_benchmarks.algorithms.base.module import BaseANN

import fasthash as fh

TRAINED_ON = 100_000


class FasthashBits(BaseANN):
    """The Hamming tracks, exactly: an index over rows, over bit planes or with tables ("rows", "planes", "tables")."""

    def __init__(self, metric, kind):
        if metric != "hamming":
            raise NotImplementedError(f"FasthashBits searches by hamming, not by {metric}")
        self.kind = kind
        self.name = f"fasthash({kind})"

    def fit(self, X):
        n_bits = X.shape[1]
        self.index = fh.MultiIndex(n_bits) if self.kind == "tables" else fh.FlatIndex(n_bits, layout=self.kind)
        self.index.add(np.packbits(X.astype(bool), axis=1, bitorder="little"))
        if self.kind == "tables":
            self.index.build()

    def query(self, q, n):
        return self._search(q[None], n)[0]

    def batch_query(self, X, n):
        self.res = self._search(X, n)

    def _search(self, queries, n):
        codes = np.packbits(queries.astype(bool), axis=1, bitorder="little")
        return self.index.search(codes, min(n, len(self.index))).ids


class FasthashVectors(BaseANN):
    """Vectors by their codes of `n_bits`, in the memory of which one reads 1/32, reranked by the vectors themselves.

    `hasher` is "itq", of at most as many bits as dimensions, or "lsh".
    """

    def __init__(self, metric, hasher, n_bits):
        if metric not in ("angular", "euclidean"):
            raise NotImplementedError(f"FasthashVectors searches by angular or euclidean, not by {metric}")
        self.metric, self.hasher_name, self.n_bits = metric, hasher, n_bits
        self.set_query_arguments(10)

    def set_query_arguments(self, factor):
        """Take `factor` candidates for each neighbour."""
        self.factor = factor
        self.name = f"fasthash({self.hasher_name}, n_bits={self.n_bits}, factor={factor})"

    def fit(self, X):
        self.vectors = self._prepared(X)
        sample = np.random.default_rng(0).permutation(len(X))[:TRAINED_ON]
        kinds = {"itq": fh.hashers.ITQ, "lsh": fh.hashers.LSH}
        self.hasher = kinds[self.hasher_name](self.n_bits).fit(self.vectors[np.sort(sample)])
        self.index = fh.FlatIndex(self.n_bits)
        self.index.add(self.hasher.encode(self.vectors))

    def query(self, q, n):
        return self._search(q[None], n)[0]

    def batch_query(self, X, n):
        self.res = self._search(X, n)

    def _prepared(self, X):
        X = np.ascontiguousarray(X, np.float32)
        if self.metric == "euclidean":
            return X
        return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), np.finfo(np.float32).tiny)

    def _search(self, queries, n):
        q = self._prepared(queries)
        metric = "l2" if self.metric == "euclidean" else "inner_product"
        reranked = {"rerank": self.vectors, "rerank_queries": q, "metric": metric, "factor": self.factor}
        return self.index.search(self.hasher.transform(q), min(n, len(self.index)), **reranked).ids
