"""Pictures in a folder: their perceptual hashes, and groups of them as one picture."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fasthash.errors import MissingDependencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fasthash.ops.pairs import DuplicateGroups

HASHES = {"ahash": "average_hash", "dhash": "dhash", "phash": "phash", "whash": "whash"}
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

_SIDE, _GAP = 128, 8  # of a picture in the grid, in pixels
_MOST_GROUPS, _MOST_MEMBERS = 100, 10


def hash_pictures(folder: Path, kind: str, hash_size: int) -> tuple[list[str], NDArray[Any]]:
    """Return the paths in a folder of the pictures that can be read, sorted, and their codes [n, hash_size^2 / 8]."""
    try:
        import imagehash
        from PIL import Image
    except ImportError:
        raise MissingDependencyError("hashing pictures", "imagehash", "imagehash") from None
    from tqdm import tqdm

    from fasthash.hashes import from_hashes

    if kind == "whash" and hash_size & (hash_size - 1):
        raise click.UsageError(f"expected --hash-size to be a power of two for whash, got {hash_size}")
    compute = getattr(imagehash, HASHES[kind])
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    names, hashes = [], []
    for path in tqdm(paths, unit="picture", disable=None):
        try:
            with Image.open(path) as image:
                hashes.append(compute(image.convert("RGB"), hash_size))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            click.echo(f"left out: {path}, which cannot be read: {error}", err=True)
            continue
        names.append(str(path.relative_to(folder)))
    if not names:
        raise ValueError(f"duplicates: expected pictures ({', '.join(ENDINGS)}) in {folder}, got none that can be read")
    codes: NDArray[Any] = from_hashes(hashes, hash_size**2)
    return names, codes


def draw_groups(path: Path, extension: str, pictures: list[Path], found: DuplicateGroups) -> None:
    """Write a picture with a row for each group, the representative first; of 100 groups and 10 members at most."""
    from PIL import Image

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
            with Image.open(pictures[i]) as image:
                small = image.convert("RGB")
            small.thumbnail((_SIDE, _SIDE))
            grid.paste(small, (_GAP + step * x, _GAP + step * y))
    grid.save(path, "PNG" if extension == ".png" else "JPEG")
