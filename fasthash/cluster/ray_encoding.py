"""Encoding by Ray Data: its actors are given the numbers of parts, and return what they wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fasthash.cluster.folders import CodePart
from fasthash.cluster.ray_engine import bound_threads, started_ray

if TYPE_CHECKING:
    from fasthash.cluster.encoding import Job
    from fasthash.cluster.sources import Unit

_MOST_BLOCKS = 1000  # of parts, which Ray Data gives out one by one


def encoded_by_ray_data(
    where: str, job: Job, units: list[Unit], todo: list[int], workers: int | None
) -> Iterator[tuple[int, CodePart | str]]:
    """Yield parts, or what is wrong with them, as Ray Data's actors finish them, a processor each."""
    if not todo:
        return
    ray = started_ray(where)
    import ray.data as data

    most = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    rows = [{"part": i} for i in todo]
    work = ray.put((job, units))  # held to the end: an actor that is replaced begins with it
    encoder: Any = PartEncoder  # Ray's types have no class whose constructor takes arguments
    context = data.DataContext.get_current()
    bars, context.enable_progress_bars = context.enable_progress_bars, False
    try:
        dataset = data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).map(
            encoder,
            fn_constructor_args=(work,),
            compute=data.ActorPoolStrategy(min_size=1, max_size=min(most, len(rows))),
            num_cpus=1,
        )
        for row in dataset.iter_rows():
            described = json.loads(row["described"])
            yield row["part"], described if isinstance(described, str) else CodePart(*map(_as_tuple, described))
    finally:
        context.enable_progress_bars = bars


class PartEncoder:
    """What Ray Data's actors run: encodes the parts that it is given the numbers of.

    Args:
        work: reference to the job and its units.
    """

    def __init__(self, work: Any) -> None:
        import ray

        bound_threads(1)
        self._job, self._units = ray.get(work)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return what is in the part, or what is wrong with its file, as JSON."""
        from fasthash.cluster.encoding import finished_part, part_or_error

        i = int(row["part"])
        unit = self._units[i]
        # Where an actor died, others get what it had been given, of which some may be finished.
        part = finished_part(self._job, i, unit) or part_or_error(self._job, i, unit)
        return {"part": i, "described": json.dumps(part)}


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
