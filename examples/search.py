# %% [markdown]
"""
# Exact search

Where else does a photo look like this? Every place of a photo of a palace, which comes with scikit-learn, has a code
of 64 bits, and the code of one place finds others: the k nearest, all within a radius, those of a part of the photo
alone. The index goes to a file and back, and is timed beside a scan in NumPy. `out/search.png` shows what was found.
"""

# %%
import timeit
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_image

import fasthash as fh

# %% [markdown]
# A place is a patch of 32 x 32 pixels, whatever its brightness and contrast, and every second pixel begins one.

# %%
SIZE, STEP, LINE = 32, 2, 236
photo = load_sample_image("china.jpg")[:426]
small = photo.reshape(213, STEP, 320, STEP, 3).mean((1, 3)).astype(np.float32)
patches = np.lib.stride_tricks.sliding_window_view(small, (SIZE // STEP, SIZE // STEP), (0, 1))[..., ::2, ::2]
columns = patches.shape[1]
x = patches.reshape(-1, 3 * 8 * 8)
x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
top, left = STEP * (np.arange(len(x)) // columns), STEP * (np.arange(len(x)) % columns)

codes = fh.hashers.ITQ(n_bits=64).fit(x[::20]).encode(x)
print(f"{len(codes):,} codes of 64 bits")

# %% [markdown]
# The k nearest, and all within a radius. Ties are in the order of the ids, so the answer is the same everywhere.

# %%
index = fh.FlatIndex(n_bits=64)
index.add(codes)
asked = np.array([row // STEP * columns + column // STEP for row, column in [(166, 240), (198, 180), (200, 100)]])
distances, ids = index.search(codes[asked], k=5)
near = index.radius_search(codes[asked], radius=8)
print("distances of the 5 nearest, the place itself among them:", *distances.tolist())
print("places within 8 bits:", *np.diff(near.offsets))

# %% [markdown]
# A mask says what may be found: here what is below a line, for places above it.

# %%
below = index.search(codes[asked], k=3, mask=top >= LINE)
print("distances of the 3 nearest below the line:", *below.distances.tolist())

figure, axes = plt.subplots(figsize=(8, 5.5), layout="constrained")
axes.imshow(photo)
axes.axhline(LINE, color="white", linestyle="--")
for color, place, found in zip(["red", "yellow", "cyan"], asked, below.ids, strict=True):
    for each, width in [(place, 4), *((hit, 2) for hit in found)]:
        axes.add_patch(plt.Rectangle((left[each], top[each]), SIZE, SIZE, fill=False, color=color, linewidth=width))
axes.set(title="Thick: asked. Thin: the three nearest below the line.", xticks=[], yticks=[])
Path("out").mkdir(exist_ok=True)
figure.savefig("out/search.png", dpi=120)

# %% [markdown]
# An index on the disk is one file, which is searched where it lies.

# %%
index.save("out/photo.index")
opened = fh.load_index("out/photo.index")
assert (opened.search(codes[asked], k=5).ids == ids).all()
print(f"out/photo.index: {len(opened):,} codes, the same answers")

# %% [markdown]
# The 10 nearest of 100 queries. NumPy counts the bits in which they differ and sorts the least. Both are timed at
# their best of five.

# %%
queries = codes[:: len(codes) // 100][:100]
words = codes.view(np.uint64).ravel()


def search():
    return index.search(queries, k=10).distances


def scan():
    counts = (np.bitwise_count(words ^ query) for query in queries.view(np.uint64))
    return np.stack([np.sort(np.partition(count, 9)[:10]) for count in counts])


assert (search() == scan()).all()
ours, theirs = (1e3 * min(timeit.repeat(function, number=1, repeat=5)) for function in (search, scan))
print(f"the same distances: fasthash {ours:.1f} ms, NumPy {theirs:.1f} ms")
