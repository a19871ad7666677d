"""What all shards found, as candidates of `fasthash.index.rerank`, whose vectors are where the search was asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch

from fasthash.cluster.shards import Codes, Ids
from fasthash.index.codes import CodeRows
from fasthash.index.rows import Rows, values_at


class FoundCodes:
    """Codes that shards found, each once. Their positions are those in the order of ids; one more stands for none.

    Args:
        n_codes: how many the index has: vectors are of all, in the order of ids.
        codes_of: returns the codes of ids.
        ranks_of: returns how many codes of the index have lower ids than each.
    """

    device = torch.device("cpu")

    def __init__(self, n_codes: int, codes_of: Callable[[Ids], Codes], ranks_of: Callable[[Ids], Ids]) -> None:
        self._n_codes = n_codes
        self._codes_of = codes_of
        self._ranks_of = ranks_of
        self._ids: Ids = np.empty(0, np.int64)

    def __len__(self) -> int:
        return self._n_codes

    def hold(self, ids: torch.Tensor) -> torch.Tensor:
        """Take the ids that were found, int64 [q, c] with -1 for none, and return their positions, -1 for -1."""
        found = ids.numpy()
        self._ids = np.unique(found[found != -1])
        return torch.from_numpy(np.where(found == -1, -1, np.searchsorted(self._ids, found)))

    @cached_property
    def codes(self) -> CodeRows:
        """The codes by position."""
        codes = self._codes_of(self._ids)
        return CodeRows(
            Rows(torch.from_numpy(np.concatenate([codes, np.zeros_like(codes, shape=(1, codes.shape[1]))])))
        )

    @cached_property
    def _rows(self) -> torch.Tensor:
        return torch.from_numpy(np.append(self._ranks_of(self._ids), 0))

    def ids_at(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the ids at positions, -1 for -1."""
        return values_at(torch.from_numpy(np.append(self._ids, -1)), positions)

    def ranks(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the rows of vectors that belong to positions."""
        return values_at(self._rows, positions)
