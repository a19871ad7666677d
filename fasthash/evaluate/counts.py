"""How many items, and how many relevant ones, are at each Hamming distance from a query: what most metrics need."""

from __future__ import annotations

import torch

from fasthash.errors import (
    check_codes,
    check_device,
    check_flag,
    check_labels,
    check_same_width,
    check_values,
    dtype_name,
    torch_arithmetic,
)
from fasthash.ops.arrays import Array, to_tensor
from fasthash.ops.packing.op import pack_bits_op
from fasthash.ops.ranking import counts_op

_ONES = torch.tensor([byte.bit_count() for byte in range(256)], device="cpu")


class Retrieval:
    """Queries and a database, codes and labels, checked; codes of -1 and +1 are packed.

    Attributes:
        query_codes: uint8 [q, n_bits / 8].
        codes: uint8 [n, n_bits / 8].
        query_labels: int64 [q], or bool [q, c].
        labels: [n], or [n, c].
        leave_one_out: whether query i is item i, and is left out of what is counted for it.
        n_ranked: how many items are counted for a query.
        where: the function that the user called.
    """

    def __init__(
        self,
        where: str,
        query_codes: Array,
        query_labels: Array,
        codes: Array,
        labels: Array,
        leave_one_out: bool = False,
    ) -> None:
        q, c = to_tensor(where, "query_codes", query_codes), to_tensor(where, "codes", codes)
        q, c = _packed(where, "query_codes", q), _packed(where, "codes", c)
        check_values(where, "codes", c)
        check_same_width(where, "query_codes", q, "codes", c)
        check_device(where, "query_codes", q, c.device)
        if len(q) == 0 or len(c) == 0:
            raise ValueError(f"{where}: expected query_codes and codes of at least one row, got {len(q)} and {len(c)}")
        ql = _labels(where, "query_labels", query_labels, q)
        cl = _labels(where, "labels", labels, c)
        if ql.shape[1:] != cl.shape[1:]:
            raise ValueError(
                f"{where}: expected query_labels and labels alike, got {list(ql.shape)} and {list(cl.shape)}"
            )
        if check_flag(where, "leave_one_out", leave_one_out) and not len(q) == len(c) > 1:
            raise ValueError(
                f"{where}: expected query_codes and codes of the same items, at least two, with leave_one_out, got "
                f"{len(q)} and {len(c)}"
            )
        self.query_codes, self.codes, self.query_labels, self.labels = q, c, ql, cl
        self.leave_one_out, self.n_ranked, self.where = leave_one_out, len(c) - leave_one_out, where

    def counts_of_all(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return int64 [q, n_bits + 1], on the CPU: the items at each distance from each query, and the relevant."""
        totals, relevants = counts_op(self.query_codes, self.codes, self.query_labels, self.labels, 0, where=self.where)
        return totals.cpu(), relevants.cpu()

    def counts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `counts_of_all` does, of the items that are ranked."""
        totals, relevants = self.counts_of_all()
        if self.leave_one_out:
            rows = torch.arange(len(totals), device="cpu")
            distances = _ONES[(self.query_codes ^ self.codes).cpu().long()].sum(1)
            same = self.query_labels == self.labels if self.labels.ndim == 1 else self.query_labels & self.labels
            totals[rows, distances] -= 1
            relevants[rows, distances] -= (same if same.ndim == 1 else same.any(1)).cpu().long()
        return totals, relevants


def _packed(where: str, name: str, codes: torch.Tensor) -> torch.Tensor:
    """Return packed codes, uint8 [n, n_bits / 8], of such, or of -1 and +1 of a signed dtype [n, n_bits]; or raise."""
    signed = codes.dtype.is_signed and not codes.is_complex()
    if signed and codes.ndim == 2 and codes.device.type != "meta":
        values = torch_arithmetic(codes.detach())
        if (wrong := (values.abs() != 1).nonzero()).numel():
            row, column = wrong[0].tolist()
            raise TypeError(
                f"{where}: expected {name} of dtype uint8 (packed codes, see pack_bits and from_hashes) or of -1 and "
                f"+1, got {dtype_name(codes)} with {codes[row, column].item()} in row {row}, column {column}"
            )
        codes = pack_bits_op(values, where=where)
    check_codes(where, name, codes)
    return codes


def _labels(where: str, name: str, labels: Array, codes: torch.Tensor) -> torch.Tensor:
    x = to_tensor(where, name, labels)
    check_device(where, name, x, codes.device)
    return check_labels(where, name, x, len(codes))
