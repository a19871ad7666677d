"""The folder of one training."""

from __future__ import annotations

import csv
import json
import pickle
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
        others = [name for name in ("checkpoint.pt", "log.csv", "results.json") if (path / name).exists()]
        if others and not file.exists():
            raise ValueError(f"train: expected settings.json beside {others[0]} in {path}, got none")
        if file.exists():
            there = read_settings(file)
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
        path = self.path / "checkpoint.pt"
        try:
            state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except (EOFError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
            raise ValueError(f"train: expected a checkpoint at {path}, got one that is cut off or damaged") from error
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


def read_settings(path: Path) -> dict[str, Any]:
    """Return what `write_json` wrote, or raise a ValueError that names the file."""
    try:
        settings = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"train: expected the settings of a training in {path}, got no JSON: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"train: expected the settings of a training in {path}, got a {type(settings).__name__}")
    return settings


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
