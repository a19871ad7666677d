from __future__ import annotations

import numpy as np
import pytest

from fasthash.evaluate import mean_average_precision


@pytest.mark.parametrize("ties", ["index", "cosine"])
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("leave_one_out", [False, True])
def test_a_search_for_the_first_items_is_a_sort_of_all(rng, monkeypatch, ties, several, leave_one_out):
    """Parts of one query and of many, few bits, and embeddings that repeat."""
    n, q = 900, 900 if leave_one_out else 40
    codes = rng.integers(0, 64, (n, 1), dtype=np.uint8)
    labels = rng.random((n, 5)) < 0.3 if several else rng.integers(0, 4, n)
    embeddings = rng.integers(-2, 3, (n, 3)) + 0.5
    query_codes, query_labels, query_embeddings = codes[:q], labels[:q], embeddings[:q]
    settings = {"ties": ties, "leave_one_out": leave_one_out}
    if ties == "cosine":
        settings |= {"query_embeddings": query_embeddings, "embeddings": embeddings}
    retrieval = query_codes, query_labels, codes, labels
    values = []
    for whole, numbers in ((4, 1 << 20), (10**9, 1 << 20), (4, 1)):
        monkeypatch.setattr("fasthash.evaluate.ranking._WHOLE", whole)
        monkeypatch.setattr("fasthash.evaluate.ranking._NUMBERS_AT_ONCE", numbers)
        values.append(mean_average_precision(*retrieval, at=7, within=2, **settings))
    assert values == pytest.approx([values[0]] * 3, abs=1e-12)
