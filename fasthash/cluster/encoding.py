"""Embeddings in many files to codes: a part at a time, each written whole, and a manifest at the end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted
from torch import nn
from tqdm import tqdm

from fasthash import _core
from fasthash.cluster.codes_folder import CODE, ID, checksum_of
from fasthash.cluster.engine import ENGINES
from fasthash.cluster.folders import MANIFEST, CodePart, EncodedFolder, digest_of
from fasthash.cluster.shards import Codes
from fasthash.cluster.sources import FOOTERS_AT_ONCE, Unit, batches_of, footer_of, units_of
from fasthash.cluster.storage import Place, check_arrow, list_files, make_folder, place_of
from fasthash.errors import check_choice, check_flag, check_integer
from fasthash.hashers import AffineHasher, Hasher
from fasthash.recipes import encode as network_codes

_WHERE = "encode_files"
_ENDINGS = (".parquet", ".npy")
_ABOUT = b"fasthash"  # what a part says of itself, in its footer


@dataclass(frozen=True)
class Job:
    """All that decides the codes of every part."""

    model: Hasher | nn.Module
    rotation: AffineHasher | None
    n_bits: int
    model_digest: str
    column: str | None
    id_column: str | None
    out: Place
    batch_rows: int

    def part(self, i: int) -> Place:
        """Return where a part is written."""
        return self.out.under(f"part-{i:05d}.parquet")

    def digest(self, unit: Unit) -> str:
        """Return the digest of all that decides a part."""
        path, size, modified = unit.source.place.path, unit.source.size, unit.source.modified
        columns = self.column, self.id_column
        return digest_of(self.model_digest, columns, path, size, modified, unit.groups, unit.first, unit.n)


def encode_files(
    model: Hasher | nn.Module,
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    column: str | None = None,
    id_column: str | None = None,
    rotation: AffineHasher | None = None,
    engine: str = "local",
    filesystem: Any = None,
    part_rows: int = 2**20,
    batch_rows: int = 2**14,
    workers: int | None = None,
    progress: bool = False,
) -> EncodedFolder:
    """Encode embeddings in files to a folder of codes, which `ShardedIndex.build` takes.

    Each part, row groups of a file with some `part_rows` rows, is read in batches, encoded and written to a Parquet
    file of its own, whole or not at all. A run that was ended goes on with the parts that are missing, and those whose
    file, model or columns have changed; the manifest is written last.

    Args:
        model: a fitted hasher; or a network whose outputs' signs are codes, with an attribute `n_bits`.
        source: files in .parquet or .npy, [n, d]: a folder, one file, or a pattern with * and ?. A path or a URI.
        folder: for the codes, made if it is not there; not `source`. A path or a URI.
        column: of Parquet files the column of embeddings, lists of one length; by default the only one beside the ids.
        id_column: the column of ids, integers; by default rows are numbered, in the order of the files' paths.
        rotation: of a network's outputs before the signs.
        engine: "local" encodes in threads of this process, "ray" by Ray Data on every node.
        filesystem: of pyarrow or fsspec, for `source` and `folder`.
        part_rows: how many rows a part has at least, where its file has as many.
        batch_rows: how many rows are encoded at once: what is read ahead of encoding is no more than that.
        workers: how many parts are encoded at once, each with one processor; by default one for each.
        progress: whether to show a progress bar.

    Returns:
        What the manifest says.

    Raises:
        FileNotFoundError: if there are no files to encode.
        ImportError: if pyarrow or Ray is missing.
        TypeError: if an argument is of another type.
        sklearn.exceptions.NotFittedError: if the hasher is not fitted.
        ValueError: if a file is damaged, has not the columns, or has others than the first one; if ids or embeddings do
            not fit; or if `folder` has codes of another job. What a footer tells comes before any work; of what is
            found later all other parts are finished first, and stay.
    """
    if not isinstance(model, (Hasher, nn.Module)):
        raise TypeError(f"{_WHERE}: expected model to be a hasher or an nn.Module, got {type(model).__name__}")
    for each in (model, rotation):
        if isinstance(each, Hasher):
            check_is_fitted(each)
    n_bits = check_integer(_WHERE, "model.n_bits", getattr(model, "n_bits", None), 1)  # type: ignore[arg-type]
    if rotation is not None and not isinstance(rotation, AffineHasher):
        raise TypeError(f"{_WHERE}: expected rotation to be an AffineHasher, got {type(rotation).__name__}")
    check_choice(_WHERE, "engine", engine, ENGINES)
    check_integer(_WHERE, "part_rows", part_rows, 1)
    check_integer(_WHERE, "batch_rows", batch_rows, 1)
    check_flag(_WHERE, "progress", progress)
    if workers is not None:
        check_integer(_WHERE, "workers", workers, 1)
    check_arrow(_WHERE)
    out = place_of(_WHERE, "folder", folder, filesystem)
    place = place_of(_WHERE, "source", source, filesystem)
    if out.is_folder(place):
        raise ValueError(f"{_WHERE}: expected folder to be another than source, got {out.path} for both")
    files = list_files(_WHERE, place, *_ENDINGS)
    units = list(units_of(_WHERE, files, column, id_column, part_rows))
    job = Job(model, rotation, n_bits, digest_of_model(model, rotation), column, id_column, out, batch_rows)
    digest = digest_of([job.digest(unit) for unit in units])
    if (there := _manifest_at(out)) is not None:
        if there.job != digest:
            raise ValueError(f"{_WHERE}: expected a folder without other codes at {out.path}, got some")
        return there
    make_folder(out)
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        finished = dict(enumerate(pool.map(lambda i: finished_part(job, i, units[i]), range(len(units)))))
    parts = {i: part for i, part in finished.items() if part is not None}
    todo = [i for i in range(len(units)) if i not in parts]
    with tqdm(total=len(units), unit="part", initial=len(parts), disable=not progress) as bar:
        wrong: dict[int, str] = {}
        for i, part in (_encoded_on_ray if engine == "ray" else _encoded_here)(job, units, todo, workers):
            if isinstance(part, str):
                wrong[i] = part
            else:
                parts[i] = part
            bar.update()
    if wrong:
        others = f"; {len(wrong) - 1} other parts are wrong, too" if len(wrong) > 1 else ""
        raise ValueError(f"{wrong[min(wrong)]}{others}")
    described = EncodedFolder(
        n_bits, id_column is None, job.model_digest, digest, tuple(parts[i] for i in range(len(units)))
    )
    with out.under(MANIFEST).replacing() as file:
        file.write(described.to_json().encode())
    return described


def digest_of_model(model: Hasher | nn.Module, rotation: AffineHasher | None = None) -> str:
    """Return the BLAKE2b of the class, the settings and the tensors of a model, 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    for each in (model, rotation):
        state: Mapping[str, Any] = {}
        if isinstance(each, nn.Module):
            digest.update(repr(each).encode())
            state = each.state_dict()
        elif each is not None:
            digest.update(f"{type(each).__name__} {each.n_features_in_} {each.n_bits}".encode())
            state = {name: getattr(each, name) for name in each.TENSORS}
        for name in sorted(state):
            tensor = state[name].detach().cpu().contiguous()
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _manifest_at(out: Place) -> EncodedFolder | None:
    try:
        content = out.under(MANIFEST).read()
    except FileNotFoundError:
        return None
    return EncodedFolder.of_json(f"{_WHERE}: expected a folder of codes at {out.path}, got", content)


def finished_part(job: Job, i: int, unit: Unit) -> CodePart | None:
    """Return the part that is there, if it is that of the job."""
    try:
        metadata, _ = footer_of(_WHERE, job.part(i))
        about = json.loads((metadata.metadata or {})[_ABOUT])
    except (FileNotFoundError, KeyError, ValueError):
        return None
    if about.pop("job", None) != job.digest(unit):
        return None
    return CodePart(**{**about, "groups": tuple(about["groups"]), "ids": tuple(about["ids"])})


def _encoded_here(
    job: Job, units: list[Unit], todo: list[int], workers: int | None
) -> Iterator[tuple[int, CodePart | str]]:
    """Encode in threads: reading and encoding release Python's lock."""
    with ThreadPoolExecutor(workers or _core.default_threads()) as pool:
        try:
            yield from zip(todo, pool.map(lambda i: part_or_error(job, i, units[i]), todo), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _encoded_on_ray(
    job: Job, units: list[Unit], todo: list[int], workers: int | None
) -> Iterator[tuple[int, CodePart | str]]:
    from fasthash.cluster.ray_encoding import encoded_by_ray_data

    return encoded_by_ray_data(_WHERE, job, units, todo, workers)


def part_or_error(job: Job, i: int, unit: Unit) -> CodePart | str:
    """Encode and write a part, or return what is wrong with its file."""
    try:
        return encode_part(job, i, unit)
    except ValueError as error:
        return str(error)


def encode_part(job: Job, i: int, unit: Unit) -> CodePart:
    """Encode and write a part."""
    import pyarrow as arrow
    from pyarrow import parquet

    codes, ids = [], []
    for x, given in batches_of(_WHERE, unit, job.column, job.id_column, job.batch_rows):
        codes.append(_encoded(job, unit, x))
        ids.append(given)
    width = (job.n_bits + 7) // 8
    c: Codes = np.concatenate([np.empty((0, width), np.uint8), *codes])
    numbered = job.id_column is None
    every = np.arange(unit.first, unit.first + unit.n) if numbered else np.concatenate([np.empty(0, np.int64), *ids])
    if len(c) != unit.n or len(every) != unit.n:
        raise ValueError(f"{_WHERE}: expected {unit.n} rows at {unit.source.place.path}, got {len(c)}")
    ends = (int(every.min()), int(every.max())) if len(every) else (-1, -1)
    place = job.part(i)
    part = CodePart(
        place.path.rpartition("/")[2], unit.source.place.path, unit.groups, len(c), ends, checksum_of(c, every)
    )
    about = json.dumps({**part._asdict(), "job": job.digest(unit)})
    schema = arrow.schema([(ID, arrow.int64()), (CODE, arrow.binary(width))], {_ABOUT: about})
    binary = arrow.FixedSizeBinaryArray.from_buffers(arrow.binary(width), len(c), [None, arrow.py_buffer(c)])
    with place.replacing() as stream, parquet.ParquetWriter(stream, schema) as writer:
        writer.write_table(arrow.table([arrow.array(every), binary], schema=schema))
    return part


def _encoded(job: Job, unit: Unit, x: NDArray[Any]) -> Codes:
    x = x.astype(np.float32) if x.dtype.kind in "ui" and isinstance(job.model, Hasher) else x
    try:
        if isinstance(job.model, Hasher):
            return np.asarray(job.model.encode(x))
        return network_codes(job.model, x, job.rotation)
    except (TypeError, ValueError) as error:
        expected = f"{_WHERE}: expected embeddings that the model takes at {unit.source.place.path}"
        raise ValueError(f"{expected}, got others: {error}") from error
