"""A question to groups of shards in Ray's actors, asked again where one fails."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from fasthash.cluster.folders import Shard
from fasthash.cluster.questions import Question

_A = TypeVar("_A")
_PAUSE = 0.05  # seconds before a process that could not be reached is asked again
_START = 60.0  # seconds, at least, that a new process may take before it answers


@dataclass(frozen=True)
class Asked:
    """What was sent to an actor: the question, or, where it is new or after a failure, whether it is there.

    Attributes:
        group: of the shards.
        shards: that are to answer.
        replica: which of the group's actors was asked.
        actor: that one.
        n_refused: how many replicas could not open the shards.
        until: when the shards are given up unless the actor is there; None while there is nothing to wait for.
        is_question: whether the question was sent.
        has_failed: whether an actor that was asked has ended.
    """

    group: int
    shards: Sequence[Shard]
    replica: int
    actor: Any = None
    n_refused: int = 0
    until: float | None = None
    is_question: bool = True
    has_failed: bool = False


class Actors(Protocol):
    """Who is asked: each group of shards in several actors."""

    replicas: int
    timeout: float

    def actor(self, group: int, replica: int) -> Any:
        """Return an actor, made if there is none."""

    def has_answered(self, actor: Any) -> bool:
        """Return whether an actor is known to have begun."""

    def answered(self, actor: Any) -> None:
        """Know that it has."""

    def forget(self, asked: Asked) -> None:
        """Let another be made in the place of an actor that ended."""


class Asking(Generic[_A]):
    """What was sent and what came of it. An actor that failed is followed by the next replica, or who replaces it.

    Args:
        ray: the package.
        actors: who is asked.
        question: what.

    Attributes:
        waiting: by Ray's reference what no answer has come to.
        answers: those that have come.
        missing: by the file of each shard that is given up, why.
    """

    def __init__(self, ray: Any, actors: Actors, question: Question[_A]) -> None:
        self._ray = ray
        self._actors = actors
        self._question = ray.put(question)
        self.waiting: dict[Any, Asked] = {}
        self.answers: list[_A] = []
        self.missing: dict[str, str] = {}

    def send(self, asked: Asked) -> None:
        """Ask; an actor that never answered first whether it is there, as it may never begin."""
        actor = self._actors.actor(asked.group, asked.replica)
        if asked.is_question and not self._actors.has_answered(actor):
            until = asked.until or time.monotonic() + max(self._actors.timeout, _START)
            asked = replace(asked, until=until, is_question=False)
        ref = actor.ask.remote(asked.shards, self._question) if asked.is_question else actor.ready.remote()
        self.waiting[ref] = replace(asked, actor=actor)

    def step(self) -> None:
        """Wait for one answer or failure, and do what follows from it."""
        waking = [asked.until for asked in self.waiting.values() if asked.until and not asked.is_question]
        patience = max(0.0, min(waking) - time.monotonic()) if waking else None
        ready, _ = self._ray.wait(list(self.waiting), num_returns=1, timeout=patience)
        if not ready:
            self._give_up_late_ones()
            return
        asked, errors = self.waiting.pop(ready[0]), self._ray.exceptions
        try:
            answer = self._ray.get(ready[0])
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            if isinstance(error, errors.ActorDiedError):
                self._actors.forget(asked)
            self._failed(asked, error)
            return
        self._actors.answered(asked.actor)
        if asked.is_question:
            self._answered(asked, *answer)
        else:
            self.send(replace(asked, is_question=True, until=asked.until if asked.has_failed else None))

    def _answered(self, asked: Asked, answer: _A | None, lost: dict[str, str]) -> None:
        """Keep an answer, and ask the next replica for the shards that could not be opened."""
        if answer is not None:
            self.answers.append(answer)
        if lost and asked.n_refused + 1 < self._actors.replicas:
            left = [shard for shard in asked.shards if shard.file in lost]
            self.send(replace(self._next(asked), shards=left, n_refused=asked.n_refused + 1))
        else:
            self.missing.update(lost)

    def _failed(self, asked: Asked, error: BaseException) -> None:
        """See whether the next replica is there, before it is asked; until it is too late."""
        now = time.monotonic()
        until = asked.until if asked.until is not None else now + self._actors.timeout
        if asked.has_failed and now >= until:
            self._give_up(asked, str(error).partition("\n")[0])
            return
        time.sleep(_PAUSE)
        self.send(replace(self._next(asked), until=until, is_question=False, has_failed=True))

    def _give_up_late_ones(self) -> None:
        now = time.monotonic()
        for ref, asked in list(self.waiting.items()):
            if asked.until is not None and not asked.is_question and now >= asked.until:
                del self.waiting[ref]
                ended = " in place of one that ended" if asked.has_failed else ""
                waited = self._actors.timeout if asked.has_failed else max(self._actors.timeout, _START)
                self._give_up(asked, f"no process within {waited} s{ended}")

    def _give_up(self, asked: Asked, reason: str) -> None:
        self.missing.update((shard.file, reason) for shard in asked.shards)

    def _next(self, asked: Asked) -> Asked:
        return replace(asked, replica=(asked.replica + 1) % self._actors.replicas)
