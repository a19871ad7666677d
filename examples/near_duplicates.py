# %% [markdown]
"""
# Near-duplicate images

Two photos that come with scikit-learn are cut into pictures, and each picture is copied four times: brighter, as a
JPEG of low quality, at half the size, and with a border cut off. Perceptual hashes of 64 bits say which belong
together. One photo chooses the radius, the other says how good it is. `out/near_duplicates.png` shows precision and
recall over the radius, and groups that were found.
"""

# %%
import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from scipy.fft import dctn
from sklearn.datasets import load_sample_image

import fasthash as fh

# %%
SIZE = 48


def recoded(picture):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=20)
    return Image.open(file)


EDITS = {
    "original": lambda picture: picture,
    "brighter": lambda picture: picture.point(lambda value: min(255, round(1.3 * value))),
    "JPEG, 20": recoded,
    "half size": lambda picture: picture.resize((SIZE // 2, SIZE // 2)),
    "cut": lambda picture: picture.crop((2, 2, SIZE - 2, SIZE - 2)),
}


def pictures_of(photo):
    """All pictures of a photo that show something, each followed by its copies."""
    places = [(x, y) for y in range(0, 427 - SIZE, SIZE) for x in range(0, 640 - SIZE, SIZE)]
    cut = [Image.fromarray(load_sample_image(photo)).crop((x, y, x + SIZE, y + SIZE)) for x, y in places]
    return [edit(picture) for picture in cut if np.std(picture.convert("L")) > 12 for edit in EDITS.values()]


# %% [markdown]
# The hash of a picture: which of the 8 x 8 lowest frequencies of its grey values are above their median.


# %%
def hashes(pictures):
    grey = np.array([picture.convert("L").resize((32, 32), Image.Resampling.BOX) for picture in pictures], float)
    x = dctn(grey, axes=(1, 2))[:, :8, :8].reshape(-1, 64)
    return fh.pack_bits(x > np.median(x, axis=1, keepdims=True))


# %% [markdown]
# `hamming_pairs` finds all pairs within a radius, once. A pair is right if both pictures are of one original.

# %%
RADII = np.arange(21)


def precision_and_recall(codes):
    i, j, distances = fh.hamming_pairs(codes, radius=RADII[-1], copies="all")
    right = i // len(EDITS) == j // len(EDITS)
    found = (distances[:, None] <= RADII).sum(0)
    found_right = (distances[right, None] <= RADII).sum(0)
    return found_right / np.maximum(found, 1), found_right / (len(codes) * (len(EDITS) - 1) / 2)


curves = {photo: precision_and_recall(hashes(pictures_of(photo))) for photo in ("china.jpg", "flower.jpg")}
radius = RADII[curves["china.jpg"][0] > 0.99][-1]
print(f"china.jpg: radius {radius} is the largest of which 99 % of the pairs are right")
precision, recall = (curve[radius] for curve in curves["flower.jpg"])
print(f"flower.jpg, radius {radius}: precision {precision:.3f}, recall {recall:.3f}")

# %% [markdown]
# Groups in which every two are within the radius.

# %%
pictures = pictures_of("flower.jpg")
groups = fh.duplicate_groups(hashes(pictures), radius, linkage="complete")
members = np.split(groups.members, groups.offsets[1:-1])
pure = sum(len(set(group // len(EDITS))) == 1 for group in members)
n_originals = len(pictures) // len(EDITS)
print(f"{len(pictures)} pictures of {n_originals} originals: {len(members)} groups, {pure} of one original")

figure = plt.figure(figsize=(10, 4.6), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[5, 4])
axes = left.subplots()
for (photo, values), color in zip(curves.items(), ["C0", "C1"], strict=True):
    for value, name, style in zip(values, ["precision", "recall"], ["-", "--"], strict=True):
        axes.plot(RADII, value, style, color=color, label=f"{name}, {photo}")
axes.axvline(radius, color="grey", linewidth=1)
axes.set(xlabel="radius, bits of 64", xticks=RADII[::4])
axes.legend()
right.suptitle("Groups of flower.jpg: what is missing was not found")
grid = right.subplots(6, len(EDITS))
for place in grid.flat:
    place.axis("off")
for place, name in zip(grid[0], EDITS, strict=True):
    place.set_title(name, fontsize=9)
for row, group in zip(grid, members[:: len(members) // 6], strict=False):
    for member in group:
        row[member % len(EDITS)].imshow(pictures[member])
Path("out").mkdir(exist_ok=True)
figure.savefig("out/near_duplicates.png", dpi=120)
