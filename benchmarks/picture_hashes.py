"""How many edited copies of pictures their perceptual hashes find, by kind of edit, as a table.

    python benchmarks/picture_hashes.py FOLDER

Each picture of the folder is cut into nine, which are different pictures, those of one colour left out; each is edited
in several ways and saved as JPEG of quality 70. A hash is taken at the largest radius at which 99 % of the pairs that
it finds are of one picture.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps

from fasthash.cli.pictures import ENDINGS, hash_pictures, pairs_of_pictures
from fasthash.ops.pairs import hamming_pairs
from fasthash.ops.pairs.found import with_copies

EDITS = {
    "recoded": lambda image: image,
    "brighter": lambda image: image.point(lambda value: min(255, int(value * 1.15 + 5))),
    "darker": lambda image: image.point(lambda value: int(value * 0.85)),
    "two thirds the size": lambda image: image.resize((image.width * 2 // 3, image.height * 2 // 3)),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.5)),
    "3 % off all round": lambda image: cut(image, 0.03, 0.03, 0.03, 0.03),
    "5 % off all round": lambda image: cut(image, 0.05, 0.05, 0.05, 0.05),
    "7 % off all round": lambda image: cut(image, 0.07, 0.07, 0.07, 0.07),
    "10 % off all round": lambda image: cut(image, 0.1, 0.1, 0.1, 0.1),
    "10 % off one side": lambda image: cut(image, 0.1, 0, 0, 0),
    "8 % off two sides": lambda image: cut(image, 0, 0.08, 0.08, 0),
    "a border of 5 %": lambda image: ImageOps.expand(image, image.width // 20, "white"),
}
HASHES = [("phash", 8), ("phash", 16), ("dhash", 8), ("dhash", 16), ("ahash", 8), ("whash", 8)]
LEAST_DEVIATION = 12  # of the grey values of a picture that says something
PRECISION = 0.99


def cut(image, left, top, right, bottom):
    box = (left * image.width, top * image.height, (1 - right) * image.width, (1 - bottom) * image.height)
    return image.crop(tuple(map(round, box)))


def make_pictures(source, folder):
    """Write pictures named by their number and their edit, and return how many there are."""
    n = 0
    for path in sorted(path for path in source.iterdir() if path.suffix.lower() in ENDINGS):
        with Image.open(path) as image:
            whole = image.convert("RGB")
        whole.thumbnail((700, 700))
        for place in range(9):
            x, y = place % 3, place // 3
            part = cut(whole, x / 3, y / 3, 1 - (x + 1) / 3, 1 - (y + 1) / 3)
            if np.asarray(part.convert("L")).std() < LEAST_DEVIATION:
                continue
            part.save(folder / f"{n:04d}-.png")
            for number, edit in enumerate(EDITS.values()):
                edit(part).save(folder / f"{n:04d}-{number:02d}.jpg", quality=70)
            n += 1
    return n


def measured(names, codes, parts, n_bits):
    """Return the radius, the precision, and the recall of each edit."""
    picture = np.array([int(name.split("-")[0]) for name in names])
    edit = np.array([name.split("-")[1].split(".")[0] for name in names])
    most = n_bits // 3
    if parts is None:
        i, j, distances = hamming_pairs(codes, most, copies="all")
    else:
        pairs = map(torch.from_numpy, pairs_of_pictures(codes, parts, most, None))
        i, j, distances = (x.numpy() for x in with_copies(len(codes), tuple(pairs)))
    same = picture[i] == picture[j]
    fit = [r for r in range(most) if (near := distances <= r).any() and same[near].mean() >= PRECISION]
    if not fit:
        return None
    radius = fit[-1]
    near = distances <= radius
    found = near & same & ((edit[i] == "") | (edit[j] == ""))
    other = np.where(edit[i] == "", edit[j], edit[i])[found]
    recall = [(other == f"{number:02d}").sum() / (edit == f"{number:02d}").sum() for number in range(len(EDITS))]
    return radius, same[near].mean(), recall


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{make_pictures(Path(sys.argv[1]), folder)} pictures\n")
        print(f"| hash | bits | radius | precision | {' | '.join(EDITS)} |")
        print("| --- " * (4 + len(EDITS)) + "|")
        for kind, size in HASHES:
            names, every = hash_pictures(folder, kind, size, crops=True)
            for label, parts in ((kind, None), (f"{kind} `--crops`", every[:, 1:])):
                found = measured(names, every[:, 0], parts, size**2)
                if found is None:
                    continue
                radius, precision, recall = found
                shares = " | ".join(f"{share:.2f}" for share in recall)
                print(f"| {label} | {size**2} | {radius} | {precision:.3f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
