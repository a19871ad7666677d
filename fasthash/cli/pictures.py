"""Pictures in a folder: their perceptual hashes, and groups of them as one picture."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fasthash.errors import MissingDependencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

    from fasthash.ops.pairs import DuplicateGroups, HammingPairs

HASHES = {"ahash": "average_hash", "dhash": "dhash", "phash": "phash", "whash": "whash"}
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

_SIDE, _GAP = 128, 8  # of a picture in the grid, in pixels
_MOST_GROUPS, _MOST_MEMBERS = 100, 10


# Parts of a picture, by where they begin and end as shares of its width and height: its middle, corners and sides.
_PARTS = (
    *((0.05, 0.05, 0.95, 0.95), (0.1, 0.1, 0.9, 0.9)),
    *((0, 0, 0.9, 0.9), (0.1, 0, 1, 0.9), (0, 0.1, 0.9, 1), (0.1, 0.1, 1, 1)),
    *((0, 0, 0.9, 1), (0.1, 0, 1, 1), (0, 0, 1, 0.9), (0, 0.1, 1, 1)),
)


def hash_pictures(folder: Path, kind: str, hash_size: int, crops: bool) -> tuple[list[str], NDArray[Any]]:
    """Return the paths in a folder of the pictures that can be read, sorted, and their codes.

    These are [n, 1, hash_size^2 / 8], or with `crops` [n, 11, ...]: those of ten parts behind the picture's.
    """
    try:
        import imagehash
    except ImportError:
        raise MissingDependencyError("hashing pictures", "imagehash", "imagehash") from None
    from tqdm import tqdm

    from fasthash.data.base import read_picture
    from fasthash.hashes import from_hashes

    if kind == "whash" and hash_size & (hash_size - 1):
        raise click.UsageError(f"expected --hash-size to be a power of two for whash, got {hash_size}")
    compute = getattr(imagehash, HASHES[kind])
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    names, hashes = [], []
    for path in tqdm(paths, unit="picture", disable=None):
        try:
            whole = read_picture(path)
            own = [compute(part, hash_size) for part in (whole, *(_parts(whole) if crops else ()))]
        except ValueError as error:
            click.echo(f"left out: {path}, which cannot be read: {error}", err=True)
            continue
        hashes += own
        names.append(str(path.relative_to(folder)))
    if not names:
        raise ValueError(f"duplicates: expected pictures ({', '.join(ENDINGS)}) in {folder}, got none that can be read")
    codes: NDArray[Any] = from_hashes(hashes, hash_size**2)
    return names, codes.reshape(len(names), -1, codes.shape[1])


def _parts(picture: Picture) -> Iterator[Picture]:
    for left, top, right, bottom in _PARTS:
        x, y = int(left * picture.width), int(top * picture.height)
        yield picture.crop((x, y, max(x + 1, round(right * picture.width)), max(y + 1, round(bottom * picture.height))))


def pairs_of_pictures(codes: NDArray[Any], parts: NDArray[Any], radius: int, threads: int | None) -> HammingPairs:
    """Return the pairs of pictures whose codes, or those of one and of a part of the other, are within a radius.

    As in `hamming_pairs`, of pictures whose codes are equal the first stands for all: others are paired with it alone,
    and only its parts are compared. A picture and a part are at least 1 apart.
    """
    import numpy as np

    from fasthash.ops.pairs import HammingPairs, hamming_pairs

    of_codes = hamming_pairs(codes, radius, progress=sys.stderr.isatty(), threads=threads)
    is_first = np.ones(len(codes), bool)
    is_first[of_codes.j[of_codes.distances == 0]] = False
    firsts = np.flatnonzero(is_first)
    others = parts[firsts].reshape(-1, codes.shape[1])
    cut = hamming_pairs(codes, radius, others=others, mask=is_first, progress=sys.stderr.isatty(), threads=threads)
    whole = firsts[cut.j // parts.shape[1]]
    i = np.concatenate([of_codes.i, np.minimum(cut.i, whole)])
    j = np.concatenate([of_codes.j, np.maximum(cut.i, whole)])
    distances = np.concatenate([of_codes.distances, np.maximum(cut.distances, 1)])
    order = np.lexsort((distances, j, i))
    order = order[i[order] < j[order]]
    i, j, distances = i[order], j[order], distances[order]
    is_new = (np.diff(i, prepend=-1) != 0) | (np.diff(j, prepend=-1) != 0)
    return HammingPairs(i[is_new], j[is_new], distances[is_new])


def draw_groups(path: Path, extension: str, pictures: list[Path], found: DuplicateGroups) -> None:
    """Write a picture with a row for each group, the representative first; of 100 groups and 10 members at most."""
    from PIL import Image

    from fasthash.data.base import read_picture

    bounds = list(pairwise(found.offsets.tolist()))[:_MOST_GROUPS]
    rows = []
    for representative, (start, end) in zip(found.representatives.tolist(), bounds, strict=False):
        others = [i for i in found.members[start:end].tolist() if i != representative]
        rows.append([representative, *others][:_MOST_MEMBERS])
    step = _SIDE + _GAP
    size = (_GAP + step * max(map(len, rows), default=1), _GAP + step * max(len(rows), 1))
    grid = Image.new("RGB", size, "white")
    for y, row in enumerate(rows):
        for x, i in enumerate(row):
            small = read_picture(pictures[i])
            small.thumbnail((_SIDE, _SIDE))
            grid.paste(small, (_GAP + step * x, _GAP + step * y))
    grid.save(path, "PNG" if extension == ".png" else "JPEG")
