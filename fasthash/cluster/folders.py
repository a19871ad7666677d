"""Manifests: what a folder of codes, or of an index in shards, consists of, written last and whole."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from fasthash.files import replacing

MANIFEST = "manifest.json"
_LOCK = ".lock"
_SHARDS_FORMAT = "fasthash shards 1"
_CODES_FORMAT = "fasthash codes 1"
_OURS = re.compile(r"shard-[0-9a-f]{16}(-\d{5,})?\.index|removed-[0-9a-f]{16}\.npy")  # as changes name their files
_UNFINISHED = re.compile(rf"\.(shard-.*\.index|removed-.*\.npy|{re.escape(MANIFEST)})\.[0-9a-f]{{16}}")
_T = TypeVar("_T", bound=tuple[Any, ...])


class CodePart(NamedTuple):
    """A file of codes.

    Attributes:
        file: its name in the folder.
        source: the file that was encoded.
        groups: the first of its row groups that was, and the one behind the last.
        n: how many codes there are.
        ids: the least and the greatest id; -1 and -1 of none.
        blake2b: of the ids, int64, and the codes behind them.
    """

    file: str
    source: str
    groups: tuple[int, int]
    n: int
    ids: tuple[int, int]
    blake2b: str


@dataclasses.dataclass(frozen=True)
class EncodedFolder:
    """What `encode_files` wrote.

    Attributes:
        n_bits: length of the codes.
        numbered: whether ids are the numbers of the rows, in the order of the parts.
        model: digest of the model that encoded.
        job: digest of all that decides the codes.
        parts: the files.
    """

    n_bits: int
    numbered: bool
    model: str
    job: str
    parts: tuple[CodePart, ...]

    def __len__(self) -> int:
        return sum(part.n for part in self.parts)

    def to_json(self) -> str:
        """Return what the folder's manifest holds."""
        return _to_json(_CODES_FORMAT, vars(self) | {"parts": [part._asdict() for part in self.parts]})

    @classmethod
    def of_json(cls, expected: str, content: bytes) -> EncodedFolder:
        """Return what `to_json` described; a ValueError begins with `expected`."""
        fields = _of_json(expected, _CODES_FORMAT, content, cls)
        parts = _entries(expected, CodePart, fields.pop("parts"))
        return cls(parts=tuple(p._replace(groups=_pair(p.groups), ids=_pair(p.ids)) for p in parts), **fields)


class Shard(NamedTuple):
    """A file of an index.

    Attributes:
        file: its name in the folder.
        n: how many codes the file has.
        first_id: where ids are a run, the first of them: the file then numbers its codes from 0. Else None.
        ids: the least and the greatest id.
        blake2b: the digest of the file's header, which holds those of its sections.
        removed: the file of the ids that were removed since, .npy, or None.
        n_removed: how many these are.
        removed_blake2b: the digest of that file, or None.
    """

    file: str
    n: int
    first_id: int | None
    ids: tuple[int, int]
    blake2b: str
    removed: str | None = None
    n_removed: int = 0
    removed_blake2b: str | None = None

    @property
    def files(self) -> list[str]:
        """The names of its files."""
        return [self.file] + [self.removed] * (self.removed is not None)  # type: ignore[list-item]

    @property
    def n_live(self) -> int:
        """How many codes were not removed."""
        return self.n - self.n_removed


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What an index in shards consists of at a moment.

    Attributes:
        kind: "flat" or "multi".
        settings: of every shard's index.
        next_id: the number that the next code gets; None where ids were given.
        made_by: digest of the build or the rebalancing that made the shards.
        version: how many changes came before.
        shards: the files, each of at least one code.
    """

    kind: str
    settings: Mapping[str, Any]
    next_id: int | None
    made_by: str
    version: int
    shards: tuple[Shard, ...]

    def __len__(self) -> int:
        return sum(shard.n_live for shard in self.shards)

    @property
    def n_bits(self) -> int:
        """Length of the codes."""
        return int(self.settings["n_bits"])

    def to_json(self) -> str:
        """Return what the folder's manifest holds."""
        return _to_json(_SHARDS_FORMAT, vars(self) | {"shards": [shard._asdict() for shard in self.shards]})

    @classmethod
    def read(cls, where: str, folder: Path) -> Manifest:
        """Return the manifest of a folder; a FileNotFoundError or ValueError begins with `where`."""
        expected = f"{where}: expected an index in shards at {folder}, got"
        try:
            content = (folder / MANIFEST).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"{expected} no {MANIFEST} there") from None
        fields = _of_json(expected, _SHARDS_FORMAT, content, cls)
        shards = _entries(expected, Shard, fields.pop("shards"))
        return cls(shards=tuple(shard._replace(ids=_pair(shard.ids)) for shard in shards), **fields)

    def write(self, folder: Path) -> None:
        """Replace the folder's manifest, whole, once it is on the disk."""
        with replacing(folder / MANIFEST) as path:
            path.write_text(self.to_json())


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Wait for the changes of others to a folder, and let none begin until this is left."""
    with open(folder / _LOCK, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # which the system frees, too, when the process is killed
        yield


def sweep(folder: Path, manifest: Manifest | None, keep: str | None = None) -> None:
    """Delete what changes that were killed left behind, and files that the last one replaced.

    Args:
        folder: of the index.
        manifest: which names what is kept, or None where there is none.
        keep: what the names of other files that are kept begin with, if any are.
    """
    named = {name for shard in manifest.shards for name in shard.files} if manifest else set()
    for path in folder.iterdir():
        kept = path.name in named or (keep is not None and path.name.startswith(keep))
        if _UNFINISHED.fullmatch(path.name) or (_OURS.fullmatch(path.name) and not kept):
            path.unlink(missing_ok=True)


def digest_of(*values: Any) -> str:
    """Return the BLAKE2b of values that JSON can hold, 16 hexadecimal digits."""
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=8).hexdigest()


def _to_json(form: str, fields: dict[str, Any]) -> str:
    return json.dumps({"format": form, "blake2b": digest_of(form, fields), **fields}, indent=1)


def _of_json(expected: str, form: str, content: bytes, kind: type) -> dict[str, Any]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{expected} a {MANIFEST} that is not JSON: {error}") from None
    if not isinstance(fields, dict) or fields.get("format") != form:
        got = fields.get("format") if isinstance(fields, dict) else type(fields).__name__
        raise ValueError(f"{expected} a {MANIFEST} of {got!r}, where {form!r} is read")
    del fields["format"]
    checksum = fields.pop("blake2b", None)
    if checksum != digest_of(form, fields):
        raise ValueError(f"{expected} a {MANIFEST} that does not match its checksum")
    if fields.keys() != {field.name for field in dataclasses.fields(kind)}:
        raise ValueError(f"{expected} a {MANIFEST} of {', '.join(sorted(fields))}")
    return fields


def _entries(expected: str, kind: type[_T], entries: list[Any]) -> list[_T]:
    try:
        return [kind(**entry) for entry in entries]
    except TypeError as error:
        raise ValueError(f"{expected} an entry that cannot be: {error}") from None


def _pair(values: Any) -> tuple[int, int]:
    low, high = values
    return low, high


def new_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder if it is not there, and return its path."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    return path
