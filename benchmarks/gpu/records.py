"""What is known of each step, line by line in a file that a process may be ended while writing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


class Records:
    """The lines of gpu.jsonl in a folder, each the record of a step: its begin, rows, checks, facts and end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "gpu.jsonl"
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, step: str, kind: str, **record: Any) -> None:
        """Append a line and have it on the disk."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "kind": kind, **record}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield every record that was written whole."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        for i, line in enumerate(lines):
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                if i + 1 < len(lines):
                    raise

    def last(self, kind: str, *names: str) -> list[dict[str, Any]]:
        """Return the records of a kind, of those that are alike in step and `names` the last.

        When a step came to its end, nothing counts that it recorded in earlier runs.
        """
        steps: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
        begun: dict[str, list[dict[str, Any]]] = {}
        for record in self:
            step = record["step"]
            if record["kind"] == "begin":
                begun[step] = []
            begun.setdefault(step, []).append(record)
            of_step = steps.setdefault(step, {})
            came_to_its_end = record["kind"] == "end" and record["status"] in ("passed", "failed")
            if came_to_its_end:
                of_step.clear()
            for r in begun[step] if came_to_its_end else [record]:
                if r["kind"] == kind:
                    of_step[tuple(r[name] for name in names)] = r
        return [r for of_step in steps.values() for r in of_step.values()]

    def runs(self) -> set[tuple[str, bool]]:
        """Return the devices that steps ran on, each with whether sizes were small."""
        return {(r["facts"]["device"], r["quick"]) for r in self if r["kind"] == "begin"}

    def left(self, steps: Iterable[str]) -> list[str]:
        """Return the steps that were not begun, then those that did not pass."""
        ends = {r["step"]: r["status"] for r in self.last("end")}
        return [step for step in steps if step not in ends] + [s for s in steps if ends.get(s, "passed") != "passed"]

    def failures(self) -> list[str]:
        """Return the checks that failed, and the steps that did not end."""
        ended = [f"{r['step']}: {r['status']}" for r in self.last("end") if r["status"] not in ("passed", "failed")]
        return [r["check"] for r in self.last("check", "check") if r["error"]] + ended
