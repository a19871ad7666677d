"""The folder of one training."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fasthash.files import replacing

Row = dict[str, float]


class RunFolder:
    """The folder of one training: settings.json, log.csv, checkpoint.pt to go on from, results.json.

    Args:
        path: made if missing; None keeps nothing.
        settings: of the training, of JSON's types.
        resume: whether to go on with the training that is there.

    Raises:
        FileExistsError: if a training is there and is not to be resumed.
        ValueError: if the one to resume has other settings.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        if path is None:
            return
        file = path / "settings.json"
        if file.exists():
            there = json.loads(file.read_text())
            if not resume:
                raise FileExistsError(
                    f"train: expected a folder without a training in it, or to resume it (resume=True, --resume), got "
                    f"{path}"
                )
            wanted = json.loads(json.dumps(settings))
            changed = sorted(key for key in there.keys() | wanted.keys() if there.get(key) != wanted.get(key))
            if changed:
                changes = ", ".join(f"{key}: {there.get(key)!r} there, {wanted.get(key)!r} now" for key in changed)
                raise ValueError(
                    f"train: expected the settings of the training in {path} to resume it, got others ({changes})"
                )
        else:
            path.mkdir(parents=True, exist_ok=True)
            write_json(file, settings)

    def checkpoint(self, device: torch.device) -> dict[str, Any] | None:
        """Return the state that `keep` wrote last, or None."""
        if self.path is None or not (self.path / "checkpoint.pt").exists():
            return None
        state: dict[str, Any] = torch.load(self.path / "checkpoint.pt", map_location=device, weights_only=True)
        return state

    def keep(self, state: Mapping[str, Any], rows: list[Row]) -> None:
        """Write the state of the training after an epoch, and the log with a row an epoch."""
        if self.path is None:
            return
        write_csv(self.path / "log.csv", rows)
        with replacing(self.path / "checkpoint.pt") as file:
            torch.save(state, file)

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the results."""
        if self.path is not None:
            write_json(self.path / "results.json", results)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with replacing(path) as file:
        file.write_text(json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file, whole or not at all; its columns are all that a row has."""
    with replacing(path) as whole, whole.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
