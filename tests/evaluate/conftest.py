"""Queries and databases small enough for every order of their ties."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


@st.composite
def small_retrieval(draw):
    """Up to six items, so that all 720 orders of the ties can be tried."""
    n, q = draw(st.integers(1, 6)), draw(st.integers(1, 2))
    bits = st.integers(0, 3)  # two bits: many ties
    codes = draw(st.lists(bits, min_size=n, max_size=n)), draw(st.lists(bits, min_size=q, max_size=q))
    labels = st.integers(0, 2)
    return (
        np.array(codes[1], np.uint8)[:, None],
        np.array(draw(st.lists(labels, min_size=q, max_size=q))),
        np.array(codes[0], np.uint8)[:, None],
        np.array(draw(st.lists(labels, min_size=n, max_size=n))),
    )
