"""Shards in Ray's actors. One that dies is replaced, and what it was asked is asked again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from fasthash.cluster.engine import OpenShards
from fasthash.cluster.folders import CodePart, Shard
from fasthash.cluster.questions import Question
from fasthash.errors import MissingDependencyError

if TYPE_CHECKING:
    from fasthash.cluster.encoding import Job
    from fasthash.cluster.sources import Unit

_A = TypeVar("_A")
_T = TypeVar("_T")
_PAUSE = 0.05  # seconds before a process that could not be reached is asked again
_MOST_BLOCKS = 1000  # of parts, which Ray Data gives out one by one


class ShardActor:
    """A process that maps shards when it is first asked for them. It needs nothing but the folder to begin anew.

    Args:
        folder: of the index.
        threads: of a search: without a bound every actor would take all processors of its node.
    """

    def __init__(self, folder: str, threads: int) -> None:
        _bound_threads(threads)
        self._shards = OpenShards(Path(folder))

    def ready(self) -> int:
        """Return the process's number."""
        return os.getpid()

    def ask(self, shards: Sequence[Shard], question: Question[_A]) -> tuple[_A | None, dict[str, str]]:
        """Answer, as an `Engine` does."""
        return self._shards.ask(shards, question)


@dataclass(frozen=True)
class _Asked:
    """What was sent to an actor: the question, or after a failure whether it is there.

    Attributes:
        group: of the shards.
        shards: that are to answer.
        replica: which of the group's actors was asked.
        actor: that one.
        n_refused: how many replicas could not open the shards.
        until: when the shards are given up unless their actors are back; None while none has failed.
        is_question: whether the question was sent.
    """

    group: int
    shards: Sequence[Shard]
    replica: int
    actor: Any
    n_refused: int = 0
    until: float | None = None
    is_question: bool = True


class RayEngine:
    """Groups of shards, each in as many actors as there are replicas.

    Actors reserve no processors: they would hold them while nobody searches, and Ray Data wait for ever.

    Args:
        where: the function that the user called.
        folder: of the index, the same path on every node.
        replicas: of each group.
        actors: how many groups; by default one a node.
        threads: of a search in an actor; by default the node's processors, shared out.
        timeout: seconds that a group is waited for once an actor has failed.
    """

    threads: int | None = None  # each actor has its own number

    def __init__(
        self,
        where: str,
        folder: Path,
        replicas: int,
        actors: int | None,
        threads: int | None,
        timeout: float,
    ) -> None:
        self._ray = started_ray(where)
        self._folder = folder
        self._replicas = replicas
        self._n_groups = actors or len(self._nodes())
        self._threads_each = threads
        self._timeout = timeout
        self._lock = Lock()
        self._actors: dict[tuple[int, int], Any] = {}
        self._group_of: dict[str, int] = {}
        self._next_replica = 0

    def __repr__(self) -> str:
        return f"{self._n_groups} actors of Ray, {self._replicas} times"

    def ask(self, shards: Sequence[Shard], question: Question[_A]) -> tuple[_A | None, dict[str, str]]:
        """Ask all groups at once; what fails is asked of the next replica, and of those that replace the dead."""
        ray = self._ray
        sent = ray.put(question)
        self._next_replica += 1  # by turns, so that replicas share the work
        answers: list[_A] = []
        missing: dict[str, str] = {}
        waiting: dict[Any, _Asked] = {}

        def send(asked: _Asked) -> None:
            actor = self._actor(asked.group, asked.replica)
            ref = actor.ask.remote(asked.shards, sent) if asked.is_question else actor.ready.remote()
            waiting[ref] = replace(asked, actor=actor)

        def give_up(asked: _Asked, reason: object) -> None:
            missing.update((shard.file, str(reason).partition("\n")[0]) for shard in asked.shards)

        for group, theirs in self._grouped(shards).items():
            send(_Asked(group, theirs, self._next_replica % self._replicas, None))
        while waiting:
            untils = [asked.until for asked in waiting.values() if asked.until is not None and not asked.is_question]
            patience = max(0.0, min(untils) - time.monotonic()) if untils else None
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=patience)
            if not ready:
                for ref in [ref for ref, asked in waiting.items() if self._is_late(asked)]:
                    give_up(waiting.pop(ref), f"no process within {self._timeout} s in place of one that ended")
                continue
            asked = waiting.pop(ready[0])
            try:
                answer = ray.get(ready[0])
            except ray.exceptions.RayTaskError as error:
                raise _cause_of(error) from None
            except ray.exceptions.RayError as error:
                if isinstance(error, ray.exceptions.ActorDiedError):
                    self._replace(asked)
                if self._is_late(asked, asking=True):
                    give_up(asked, error)
                    continue
                time.sleep(_PAUSE)
                until = asked.until or time.monotonic() + self._timeout
                send(replace(self._with_next_replica(asked), until=until, is_question=False))
                continue
            if not asked.is_question:
                send(replace(asked, is_question=True))
                continue
            found, lost = answer
            if found is not None:
                answers.append(found)
            if lost:
                left = replace(asked, shards=[shard for shard in asked.shards if shard.file in lost])
                if asked.n_refused + 1 < self._replicas:
                    send(replace(self._with_next_replica(left), n_refused=asked.n_refused + 1))
                else:
                    missing.update(lost)
        return (question.merged(answers) if answers else None), missing

    def map(self, function: Callable[..., _T], arguments: Iterable[tuple[Any, ...]]) -> Iterator[_T]:
        """Yield results of tasks, a processor each, as many at once as there are processors and as many waiting."""
        ray = self._ray
        task = ray.remote(num_cpus=1, max_retries=-1)(_on_one_processor)
        most = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        left = iter(arguments)
        running: set[Any] = set()
        while True:
            while len(running) < most and (each := next(left, None)) is not None:
                running.add(task.remote(function, *each))
            if not running:
                return
            done, _ = ray.wait(list(running), num_returns=1)
            running.difference_update(done)
            try:
                yield ray.get(done[0])
            except ray.exceptions.RayTaskError as error:
                for ref in running:
                    ray.cancel(ref)
                raise _cause_of(error) from None

    def close(self) -> None:
        """End the actors."""
        with self._lock:
            for actor in self._actors.values():
                self._ray.kill(actor)
            self._actors.clear()

    def _nodes(self) -> list[Any]:
        """Return the nodes that have processors, in an order that does not depend on when they came."""
        nodes = [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        if not nodes:
            raise RuntimeError("expected a node of Ray with processors, got none")
        return sorted(nodes, key=lambda node: str(node["NodeID"]))

    def _actor(self, group: int, replica: int) -> Any:
        """Return an actor, made if there is none. Replicas of a group are on different nodes, as far as there are."""
        with self._lock:
            if (group, replica) not in self._actors:
                nodes = self._nodes()
                node = nodes[(group + replica) % len(nodes)]
                n_there = -(-self._n_groups * self._replicas // len(nodes))
                threads = self._threads_each or max(1, int(node["Resources"]["CPU"]) // n_there)
                near = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
                kind = self._ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy=near)(ShardActor)
                self._actors[group, replica] = kind.remote(os.fspath(self._folder), threads)
            return self._actors[group, replica]

    def _replace(self, asked: _Asked) -> None:
        """Forget an actor that ended, unless another call has."""
        with self._lock:
            if self._actors.get((asked.group, asked.replica)) is asked.actor:
                del self._actors[asked.group, asked.replica]

    def _grouped(self, shards: Sequence[Shard]) -> dict[int, list[Shard]]:
        """Return the shards of each group: each stays where it was, a new one goes to the group of fewest codes."""
        with self._lock:
            files = {shard.file for shard in shards}
            self._group_of = {file: group for file, group in self._group_of.items() if file in files}
            sizes = [0] * self._n_groups
            for shard in shards:
                if shard.file in self._group_of:
                    sizes[self._group_of[shard.file]] += shard.n
            for shard in sorted(shards, key=lambda shard: -shard.n):
                if shard.file not in self._group_of:
                    least = sizes.index(min(sizes))
                    self._group_of[shard.file] = least
                    sizes[least] += shard.n
            groups: dict[int, list[Shard]] = {}
            for shard in shards:
                groups.setdefault(self._group_of[shard.file], []).append(shard)
            return groups

    def _with_next_replica(self, asked: _Asked) -> _Asked:
        return replace(asked, replica=(asked.replica + 1) % self._replicas)

    def _is_late(self, asked: _Asked, asking: bool = False) -> bool:
        """Return whether shards are given up that wait for an actor, or with `asking` for an answer."""
        return asked.until is not None and (asking or not asked.is_question) and time.monotonic() >= asked.until


def started_ray(where: str) -> Any:
    """Return Ray, connected to the cluster of RAY_ADDRESS, or to one of this machine that is started for it."""
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise MissingDependencyError(f"{where} with engine 'ray'", "Ray", "ray") from None
    if not ray.is_initialized():
        ray.init()
    return ray


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
    context = data.DataContext.get_current()
    bars, context.enable_progress_bars = context.enable_progress_bars, False
    try:
        dataset = data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).map(
            PartEncoder,
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

        _bound_threads(1)
        self._job, self._units = ray.get(work)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return what is in the part, or what is wrong with its file, as JSON."""
        from fasthash.cluster.encoding import finished_part, part_or_error

        i = int(row["part"])
        unit = self._units[i]
        # Where an actor died, others get what it had been given, of which some may be finished.
        part = finished_part(self._job, i, unit) or part_or_error(self._job, i, unit)
        return {"part": i, "described": json.dumps(part)}


def _on_one_processor(function: Callable[..., _T], *arguments: Any) -> _T:
    _bound_threads(1)
    return function(*arguments)


def _bound_threads(n: int) -> None:
    """Let fasthash and torch use no more threads in this process."""
    import torch

    os.environ["FASTHASH_THREADS"] = str(n)
    torch.set_num_threads(n)


def _cause_of(error: Any) -> BaseException:
    """Return what a function raised in another process, as it would have here."""
    cause: BaseException = error.cause
    return cause


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
