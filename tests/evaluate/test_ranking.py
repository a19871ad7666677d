from __future__ import annotations

import numpy as np
import pytest

from fasthash.evaluate import mean_average_precision, precision_recall_by_rank


@pytest.mark.parametrize("ties", ["index", "cosine", "inner_product"])
@pytest.mark.parametrize("leave_one_out", [False, True])
def test_queries_in_parts_are_queries_together(rng, monkeypatch, ties, leave_one_out):
    n, q = 300, 300 if leave_one_out else 40
    codes = rng.integers(0, 64, (n, 1), dtype=np.uint8)
    labels = rng.integers(0, 4, n)
    embeddings = rng.integers(-2, 3, (n, 3)) + 0.5
    settings = {"ties": ties, "leave_one_out": leave_one_out, "at": 100}
    if ties != "index":
        settings |= {"query_embeddings": embeddings[:q], "embeddings": embeddings}
    retrieval = codes[:q], labels[:q], codes, labels
    whole = mean_average_precision(*retrieval, **settings), *precision_recall_by_rank(*retrieval, **settings)
    monkeypatch.setattr("fasthash.evaluate.ranking._BYTES_AT_ONCE", 100)
    parts = mean_average_precision(*retrieval, **settings), *precision_recall_by_rank(*retrieval, **settings)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
