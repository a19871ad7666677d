"""What is done about actors that never begin, by a Ray whose actors never do."""

from __future__ import annotations

import types

import pytest

from fasthash.cluster import ray_asking
from fasthash.cluster.ray_asking import Asked, Asking


class Never:
    """Ray, whose actors take what they are asked and never answer; and the actors."""

    replicas = 1
    timeout = 0.0
    exceptions = types.SimpleNamespace(RayTaskError=RuntimeError, RayError=OSError, ActorDiedError=EOFError)

    def __init__(self):
        self.ready = self.ask = self
        self.waited = []

    def put(self, value):
        return value

    def remote(self, *arguments):
        self.sent = arguments
        return object()

    def wait(self, refs, num_returns, timeout):
        self.waited.append(timeout)
        return [], refs

    def actor(self, group, replica):
        return self

    def has_answered(self, actor):
        return False


def test_a_process_that_never_begins_is_given_up(monkeypatch):
    monkeypatch.setattr(ray_asking, "_START", 0.01)
    ray = Never()
    asking = Asking(ray, ray, "question")
    asking.send(Asked(0, [types.SimpleNamespace(file="shard-0.index"), types.SimpleNamespace(file="shard-1.index")], 0))
    assert ray.sent == ()  # not the question
    for _ in range(10**7):
        if not asking.waiting:
            break
        asking.step()
    assert all(0 <= patience <= 0.01 for patience in ray.waited)
    reason = "no process within 0.01 s"
    assert asking.missing == {"shard-0.index": reason, "shard-1.index": reason}
    assert asking.answers == []


def test_a_process_that_began_has_as_long_as_it_wants():
    class Begins(Never):
        def __init__(self):
            super().__init__()
            self.begun = False

        def wait(self, refs, num_returns, timeout):
            self.waited.append(timeout)
            return refs[:1], refs[1:]

        def get(self, ref):
            return ("answer", {}) if self.sent else 1234

        def has_answered(self, actor):
            return self.begun

        def answered(self, actor):
            self.begun = True

    ray = Begins()
    asking = Asking(ray, ray, "question")
    asking.send(Asked(0, [], 0))
    asking.step()
    assert [(asked.is_question, asked.until) for asked in asking.waiting.values()] == [(True, None)]
    asking.step()
    assert asking.answers == ["answer"]
    assert ray.waited == [pytest.approx(60, abs=5), None]
