"""Shards in Ray's actors. One that dies is replaced, and what it was asked is asked again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from fasthash.cluster.engine import OpenShards
from fasthash.cluster.folders import Shard
from fasthash.cluster.questions import Question
from fasthash.cluster.ray_asking import Asked, Asking
from fasthash.errors import MissingDependencyError

_A = TypeVar("_A")
_T = TypeVar("_T")


class ShardActor:
    """A process that maps shards when it is first asked for them. It needs nothing but the folder to begin anew.

    Args:
        folder: of the index.
        threads: of a search: without a bound every actor would take all processors of its node.
    """

    def __init__(self, folder: str, threads: int) -> None:
        bound_threads(threads)
        self._shards = OpenShards(Path(folder))

    def ready(self) -> int:
        """Return the process's number."""
        return os.getpid()

    def ask(self, shards: Sequence[Shard], question: Question[_A]) -> tuple[_A | None, dict[str, str]]:
        """Answer, as an `Engine` does."""
        return self._shards.ask(shards, question)


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
        self._where = where
        self._folder = folder
        self.replicas = replicas
        self._n_groups = actors or len(self._nodes())
        self._threads_each = threads
        self.timeout = timeout
        self._lock = Lock()
        self._actors: dict[tuple[int, int], Any] = {}
        self._begun: set[Any] = set()
        self._group_of: dict[str, int] = {}
        self._next_replica = 0

    def __repr__(self) -> str:
        return f"{self._n_groups} actors of Ray, {self.replicas} times"

    def ask(self, shards: Sequence[Shard], question: Question[_A]) -> tuple[_A | None, dict[str, str]]:
        """Ask all groups at once; what fails is asked of the next replica, and of those that replace the dead."""
        asking = Asking(self._ray, self, question)
        self._next_replica += 1  # by turns, so that replicas share the work
        for group, theirs in self._grouped(shards).items():
            asking.send(Asked(group, theirs, self._next_replica % self.replicas))
        while asking.waiting:
            asking.step()
        answers = asking.answers
        return (question.merged(answers) if answers else None), asking.missing

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
                raise error.cause from None

    def close(self) -> None:
        """End the actors."""
        with self._lock:
            for actor in self._actors.values():
                self._ray.kill(actor)
            self._actors.clear()
            self._begun.clear()

    def _nodes(self) -> list[Any]:
        """Return the nodes that have processors, in an order that does not depend on when they came."""
        nodes = [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        if not nodes:
            raise RuntimeError(f"{self._where}: expected a node of Ray with processors, got none")
        return sorted(nodes, key=lambda node: str(node["NodeID"]))

    def actor(self, group: int, replica: int) -> Any:
        """Return an actor, made if there is none. Replicas of a group are on different nodes, as far as there are."""
        with self._lock:
            if (group, replica) not in self._actors:
                nodes = self._nodes()
                node = nodes[(group + replica) % len(nodes)]
                n_there = -(-self._n_groups * self.replicas // len(nodes))
                threads = self._threads_each or max(1, int(node["Resources"]["CPU"]) // n_there)
                near = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
                kind = self._ray.remote(num_cpus=0, max_restarts=0, scheduling_strategy=near)(ShardActor)
                self._actors[group, replica] = kind.remote(os.fspath(self._folder), threads)
            return self._actors[group, replica]

    def has_answered(self, actor: Any) -> bool:
        """Return whether an actor is known to have begun."""
        return actor in self._begun

    def answered(self, actor: Any) -> None:
        """Know that it has."""
        self._begun.add(actor)

    def forget(self, asked: Asked) -> None:
        """Forget an actor that ended, unless another call has."""
        with self._lock:
            self._begun.discard(asked.actor)
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


def _on_one_processor(function: Callable[..., _T], *arguments: Any) -> _T:
    bound_threads(1)
    return function(*arguments)


def bound_threads(n: int) -> None:
    """Let fasthash and torch use no more threads in this process."""
    import torch

    os.environ["FASTHASH_THREADS"] = str(n)
    torch.set_num_threads(n)
