"""Where shards are: in this process, or in Ray's actors (`ray_engine.py`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TypeVar

from fasthash.cluster.folders import Shard
from fasthash.cluster.questions import Question
from fasthash.cluster.shards import OpenShard
from fasthash.errors import check_choice, check_integer, check_number

_A = TypeVar("_A")
_T = TypeVar("_T")
ENGINES = ("local", "ray")


class Engine(Protocol):
    """What asks shards, and does work that is cut into independent pieces.

    Attributes:
        threads: of a search in each process that has shards, where the question says nothing; None leaves it to them.
    """

    threads: int | None

    def ask(self, shards: Sequence[Shard], question: Question[_A]) -> tuple[_A | None, dict[str, str]]:
        """Return the merged answer of shards, and by file why one gave none; the answer of none at all is None."""

    def map(self, function: Callable[..., _T], arguments: Iterable[tuple[Any, ...]]) -> Iterator[_T]:
        """Yield what a function returns for each arguments, in any order; what is lost with a process is repeated."""

    def close(self) -> None:
        """Give back what is held."""


class OpenShards:
    """Shards that are searched in this process, opened when they are first asked.

    Args:
        folder: of the index.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._open: dict[Shard, OpenShard] = {}

    def ask(self, shards: Sequence[Shard], question: Question[_A]) -> tuple[_A | None, dict[str, str]]:
        """Answer, as an `Engine` does."""
        missing: dict[str, str] = {}

        def opened() -> Iterator[OpenShard]:
            for shard in shards:
                try:
                    yield self._opened(shard)
                except (OSError, ValueError) as error:
                    missing[shard.file] = str(error)

        answer = question.of_all(opened())
        self._forget(shards)
        return answer, missing

    def _opened(self, shard: Shard) -> OpenShard:
        with self._lock:
            if shard not in self._open:
                self._open[shard] = OpenShard(self._folder, shard)
            return self._open[shard]

    def _forget(self, shards: Sequence[Shard]) -> None:
        """Close what is not asked any more."""
        with self._lock:
            for shard in self._open.keys() - set(shards):
                del self._open[shard]


class LocalEngine:
    """Shards mapped into this process and searched one after the other, each by all threads.

    Args:
        folder: of the index.
        threads: of a search.
    """

    def __init__(self, folder: Path, threads: int | None) -> None:
        self.threads = threads
        self._shards = OpenShards(folder)

    def __repr__(self) -> str:
        return "in this process"

    def ask(self, shards: Sequence[Shard], question: Question[_A]) -> tuple[_A | None, dict[str, str]]:
        """Answer, as an `Engine` does."""
        return self._shards.ask(shards, question)

    def map(self, function: Callable[..., _T], arguments: Iterable[tuple[Any, ...]]) -> Iterator[_T]:
        """Do one piece after the other."""
        return (function(*each) for each in arguments)

    def close(self) -> None:
        """Do nothing: what was mapped is freed with the engine."""


def engine_of(
    where: str,
    folder: str | os.PathLike[str],
    engine: str,
    replicas: int = 1,
    actors: int | None = None,
    threads: int | None = None,
    timeout: float = 60.0,
) -> Engine:
    """Return an engine, or raise a TypeError or ValueError that begins with `where`."""
    check_choice(where, "engine", engine, ENGINES)
    check_integer(where, "replicas", replicas, 1)
    for name, value in (("actors", actors), ("threads", threads)):
        if value is not None:
            check_integer(where, name, value, 1)
    check_number(where, "timeout", timeout, minimum=0)
    if engine == "local":
        if replicas != 1 or actors is not None:
            raise ValueError(f"{where}: expected replicas and actors only with engine 'ray', got some with 'local'")
        return LocalEngine(Path(folder), threads)
    from fasthash.cluster.ray_engine import RayEngine

    return RayEngine(where, Path(folder), replicas, actors, threads, timeout)
