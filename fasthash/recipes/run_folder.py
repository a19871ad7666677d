"""The folder of one training."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fasthash.files import replacing

Row = dict[str, float]
_SEAL, _DIGEST_BYTES = b"blake2b:", 16
_SEAL_BYTES = len(_SEAL) + _DIGEST_BYTES
_DAMAGE = (  # what zipfile and torch raise where an archive is not one
    *(AttributeError, EOFError, LookupError, NotImplementedError, OSError, OverflowError, RuntimeError, TypeError),
    *(ValueError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error),
)


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
        file, others = path / "settings.json", self._trained()
        if others and not file.exists():
            raise ValueError(f"train: expected settings.json beside {others[0]} in {path}, got none")
        if file.exists():
            there = read_json("train: expected the settings of a training", file)
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
                    f"train: expected the settings of the training in {path} to resume it, got others ({changes}); "
                    "another training needs another folder"
                )
        else:
            path.mkdir(parents=True, exist_ok=True)
            write_json(file, settings)

    def _trained(self) -> list[str]:
        return [
            name for name in ("checkpoint.pt", "log.csv", "results.json") if self.path and (self.path / name).exists()
        ]

    def leave(self) -> None:
        """Take the settings back if nothing was trained by them, so that others can be tried in the folder."""
        if self.path is not None and not self._trained():
            (self.path / "settings.json").unlink(missing_ok=True)

    def checkpoint(self, names: Collection[str]) -> dict[str, Any] | None:
        """Return the state that `keep` wrote last, which has these names, on the CPU, or None."""
        if self.path is None or not (self.path / "checkpoint.pt").exists():
            return None
        path = self.path / "checkpoint.pt"
        expected = f"train: expected a checkpoint at {path}, got"
        content = path.read_bytes()
        try:
            _check_whole(content)
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except _DAMAGE as error:
            raise ValueError(f"{expected} one that is cut off or damaged: {error}") from error
        if not isinstance(state, dict) or state.keys() != set(names) or not isinstance(state.get("rows", []), list):
            raise ValueError(f"{expected} one of something else than {', '.join(names)}")
        return state

    def keep(self, state: Mapping[str, Any], rows: list[Row]) -> None:
        """Write the state of the training after an epoch, and the log with a row an epoch."""
        if self.path is None:
            return
        write_csv(self.path / "log.csv", rows)
        content = io.BytesIO()  # where torch writes itself, it hides what the system said
        torch.save(state, content)
        _seal(content)
        with replacing(self.path / "checkpoint.pt") as file:
            file.write_bytes(content.getbuffer())

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write the results."""
        if self.path is not None:
            write_json(self.path / "results.json", results)


def _seal(archive: io.BytesIO) -> None:
    """Give a zip archive a comment, the checksum of all before it."""
    archive.seek(-2, io.SEEK_END)  # the last field is the length of the comment
    archive.write(_SEAL_BYTES.to_bytes(2, "little"))
    archive.write(_SEAL + hashlib.blake2b(archive.getbuffer(), digest_size=_DIGEST_BYTES).digest())


def _check_whole(archive: bytes) -> None:
    """Raise unless an archive is what its seal says, or without one, written before there were seals, its checksums."""
    content, seal = memoryview(archive)[:-_SEAL_BYTES], archive[-_SEAL_BYTES:]
    if seal.startswith(_SEAL):
        if hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest() != seal[len(_SEAL) :]:
            raise ValueError("it does not match its checksum")
        return
    if not (archive[-22:-18] == b"PK\x05\x06" and archive.endswith(b"\0\0")):  # the last record, without a comment
        raise ValueError("it does not end as an archive does")
    with zipfile.ZipFile(io.BytesIO(archive)) as unsealed:
        damaged = unsealed.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} does not match its checksum")


def read_json(expected: str, path: Path) -> dict[str, Any]:
    """Return what `write_json` wrote, or raise a ValueError that begins with `expected` and names the file."""
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{expected} in {path}, got no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{expected} in {path}, got a {type(content).__name__}")
    return content


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
