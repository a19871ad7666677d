# %% [markdown]
"""
# Near-duplicate images

Two photos that come with scikit-learn are cut into 208 pictures, and each is copied four times: brighter, as a JPEG of low
quality, smaller, and with a border cut off. A perceptual hash of 64 bits then says which belong together. `out/near_duplicates.png`
shows precision and recall over the radius, and some groups.
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


def recoded(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=20)
    return Image.open(file)


EDITS = {
    "original": lambda image: image,
    "brighter": lambda image: image.point(lambda value: min(255, round(1.3 * value))),
    "JPEG 20": recoded,
    "half size": lambda image: image.resize((SIZE // 2, SIZE // 2)),
    "cropped": lambda image: image.crop((2, 2, SIZE - 2, SIZE - 2)),
}
pictures, truth = [], []
for photo in map(load_sample_image, ["china.jpg", "flower.jpg"]):
    for y in range(0, photo.shape[0] - SIZE, SIZE):
        for x in range(0, photo.shape[1] - SIZE, SIZE):
            original = Image.fromarray(photo[y : y + SIZE, x : x + SIZE])
            truth += [len(pictures) // len(EDITS)] * len(EDITS)
            pictures += [edit(original) for edit in EDITS.values()]
truth = np.array(truth)

# %% [markdown]
# The hash: which of the 8 x 8 lowest frequencies of a small grey picture are above their median.


# %%
def frequencies(image):
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=float)
    return dctn(grey, norm="ortho")[:8, :8].ravel()


x = np.stack([frequencies(picture) for picture in pictures])
codes = fh.pack_bits(x > np.median(x, axis=1, keepdims=True))

# %% [markdown]
# All pairs within 20 bits, once: those of smaller radii are among them. A pair is right if both are of one original.

# %%
i, j, distances = fh.hamming_pairs(codes, radius=20, copies="all")
right = truth[i] == truth[j]
n_right = (np.bincount(truth) * (np.bincount(truth) - 1) // 2).sum()
radii = np.arange(0, 21)
found = np.array([(distances <= radius).sum() for radius in radii])
hits = np.array([(right & (distances <= radius)).sum() for radius in radii])
print(f"{len(codes):,} pictures, {n_right:,} pairs of copies")
for radius in radii[::2]:
    print(f"radius {radius:2}: precision {hits[radius] / found[radius]:.3f}, recall {hits[radius] / n_right:.3f}")
for name, k in zip(EDITS, range(5)):
    e=(i%5==0)&(j%5==k)&right
    print(name, [(e&(distances<=r)).sum() for r in radii[::2]])
