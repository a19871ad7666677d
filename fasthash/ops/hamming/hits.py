"""What searches find, and what several found as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import torch

from fasthash.errors import MAX_BITS, MAX_INTEGER, check_integer, dtype_name, memory_error
from fasthash.ops.arrays import Array, all_as_given, to_tensor

NO_DISTANCE = 2**31 - 1


class Hits(NamedTuple):
    """The nearest codes of each query.

    Attributes:
        distances: int32 [q, k], ascending; 2^31 - 1 where fewer than k codes are eligible.
        ids: int64 [q, k], among equal distances in the order of the codes; -1 where fewer than k codes are eligible.
    """

    distances: Array
    ids: Array


class RadiusHits(NamedTuple):
    """The codes within a distance of each query: those of query i are at `offsets[i]` to `offsets[i + 1]`.

    Attributes:
        offsets: int64 [q + 1].
        distances: int32 [offsets[q]], ascending within a query.
        ids: int64 [offsets[q]], among equal distances of a query in the order of the codes.
    """

    offsets: Array
    distances: Array
    ids: Array


@overload
def merge_hits(parts: Sequence[Hits], k: int | None = None) -> Hits: ...
@overload
def merge_hits(parts: Sequence[RadiusHits]) -> RadiusHits: ...
def merge_hits(parts: Sequence[Any], k: int | None = None) -> Hits | RadiusHits:
    """Return the hits of the same queries among all that several searches, of shards for instance, have found.

    Ids are taken as they are: they should mean the same everywhere. Equal distances are ordered by part, then as in the
    part. Each query costs a sort of its hits.

    Args:
        parts: at least one; all `Hits`, reranked or not, or all `RadiusHits`; on one device.
        k: how many hits a query gets, by default as many as in the widest part. Only for `Hits`.

    Returns:
        `Hits` or `RadiusHits`, of tensors if the first part has some, else of NumPy arrays.

    Raises:
        TypeError: if parts are of different kinds or dtypes.
        ValueError: if there are none, they are not of the same queries, or there is a `k` for `RadiusHits`.
    """
    where = "merge_hits"
    if not isinstance(parts, (list, tuple)):
        raise TypeError(f"{where}: expected parts to be a list or tuple, got {type(parts).__name__}")
    if len(parts) == 0:
        raise ValueError(f"{where}: expected at least one of parts, got none")
    kind = RadiusHits if isinstance(parts[0], RadiusHits) else Hits
    for i, part in enumerate(parts):
        if not isinstance(part, kind):
            expected = f"{kind.__name__}, as parts[0] is" if i else "Hits or RadiusHits"
            raise TypeError(f"{where}: expected parts[{i}] to be {expected}, got {type(part).__name__}")
    fields = [_columns(where, f"parts[{i}]", part) for i, part in enumerate(parts)]
    for i, columns in enumerate(fields):
        for name, x in columns.items():
            if (x.dtype, x.device) != (fields[0][name].dtype, fields[0][name].device):
                wanted, got = (f"{dtype_name(y)} on {y.device}" for y in (fields[0][name], x))
                raise TypeError(f"{where}: expected parts[{i}].{name} of {wanted}, as in parts[0], got {got}")
        if (n := _n_queries(columns)) != _n_queries(fields[0]):
            raise ValueError(f"{where}: expected parts[{i}] of {_n_queries(fields[0])} queries, as parts[0], got {n}")
    given = parts[0].ids
    if kind is RadiusHits:
        if k is not None:
            raise ValueError(f"{where}: expected no k for RadiusHits, got {k}")
        return RadiusHits(*all_as_given(_joined(fields), given))
    n_hits = max(columns["ids"].shape[1] for columns in fields) if k is None else check_integer(where, "k", k, 1)
    check_hits(where, n_hits, fields[0]["ids"])
    try:
        merged = nearest_of([x["distances"] for x in fields], [x["ids"] for x in fields], n_hits)
    except (MemoryError, RuntimeError) as error:
        raise memory_error(where, error) or error from None
    return Hits(*all_as_given(merged, given))


def _columns(where: str, name: str, part: Hits | RadiusHits) -> dict[str, torch.Tensor]:
    """Return the fields of a part by name, which fit each other."""
    columns = {field: to_tensor(where, f"{name}.{field}", x) for field, x in part._asdict().items()}
    distances, ids, offsets = columns["distances"], columns["ids"], columns.get("offsets")
    if offsets is not None and dtype_name(offsets) not in ("int32", "int64"):
        raise TypeError(f"{where}: expected {name}.offsets of int32 or int64, got {dtype_name(offsets)}")
    fit = distances.shape == ids.shape and ids.ndim == (2 if offsets is None else 1)
    if offsets is not None:
        fit = fit and offsets.ndim == 1 and len(offsets) > 0 and int(offsets[-1]) == len(ids)
        fit = fit and int(offsets[0]) == 0 and bool((offsets.diff() >= 0).all())
    if not fit:
        shapes = ", ".join(f"{field} {list(x.shape)}" for field, x in columns.items())
        raise ValueError(f"{where}: expected {name} as a search returns it, got {shapes}, which do not fit")
    return columns


def _n_queries(columns: dict[str, torch.Tensor]) -> int:
    return len(columns["offsets"]) - 1 if "offsets" in columns else len(columns["ids"])


def check_hits(where: str, k: int, queries: torch.Tensor) -> None:
    """Raise unless an array can have k hits for every query."""
    if k >= 2**31 and k > (most := MAX_INTEGER // (8 * max(1, len(queries)))):
        raise ValueError(f"{where}: expected k from 1 to {most} for {len(queries)} queries, got {k}")


def not_farther(found: tuple[torch.Tensor, torch.Tensor], max_distance: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `hamming_topk` finds as if there were no codes farther than a distance."""
    if max_distance >= MAX_BITS:
        return found
    distances, ids = found
    near = distances <= max_distance
    return torch.where(near, distances, NO_DISTANCE), torch.where(near, ids, -1)


def nearest_of(
    distances: Sequence[torch.Tensor], ids: Sequence[torch.Tensor], k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the k of least distance in each row of tensors side by side, earlier columns first among equal ones.

    Ids of -1, which stand for no hit, come last.
    """
    all_distances, all_ids = torch.cat(list(distances), dim=1), torch.cat(list(ids), dim=1)
    if all_distances.is_floating_point() and bool((all_distances.isposinf() & (all_ids != -1)).any()):
        hits_first = (all_ids == -1).sort(dim=1, stable=True).indices
        all_distances, all_ids = all_distances.gather(1, hits_first), all_ids.gather(1, hits_first)
    order = all_distances.sort(dim=1, stable=True).indices[:, :k]
    missing = (0, k - order.shape[1])
    none = torch.inf if all_distances.is_floating_point() else NO_DISTANCE
    pad = torch.nn.functional.pad
    return pad(all_distances.gather(1, order), missing, value=none), pad(all_ids.gather(1, order), missing, value=-1)


def _joined(parts: Sequence[dict[str, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return offsets, distances and ids of all hits, in the order of (query, distance, part)."""
    counts = [part["offsets"].diff() for part in parts]
    queries = torch.cat([torch.arange(len(x), device=x.device).repeat_interleave(x) for x in counts])
    distances, ids = (torch.cat([part[name] for part in parts]) for name in ("distances", "ids"))
    order = distances.sort(stable=True).indices
    order = order[queries[order].sort(stable=True).indices]
    offsets = torch.nn.functional.pad(torch.stack(counts).sum(0).cumsum(0), (1, 0))
    return offsets, distances[order], ids[order]
