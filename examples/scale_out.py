# %% [markdown]
"""
# Scale out: files of embeddings, an index in shards

Patches of two photos, in four files, stand for embeddings that no memory holds. `fasthash.cluster` encodes the files,
makes an index in shards and searches it as one: by processes of Ray on this machine where Ray is installed
(the extra `ray`), else by threads of this process. A cluster of many machines takes the same calls, after
`ray.init(address=...)`.
"""

# %%
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_image

import fasthash as fh
from fasthash.cluster import ShardedIndex, encode_files

ENGINE = "ray" if find_spec("ray") else "local"
if ENGINE == "ray":
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    print("Ray, two processors of this machine")
else:
    print("Ray is not installed: threads of this process do the same")

# %% [markdown]
# Four files of 16 x 16 pixels a row. Rows are numbered in the order of the files' names, unless a column has their
# ids.

# %%
SIZE = 16
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
(folder / "embeddings").mkdir()
for photo in ("china", "flower"):
    grey = load_sample_image(f"{photo}.jpg").mean(2, dtype=np.float32)
    patches = np.lib.stride_tricks.sliding_window_view(grey, (SIZE, SIZE))[::3, ::3].reshape(-1, SIZE * SIZE)
    patches = patches - patches.mean(1, keepdims=True)
    for half, rows in enumerate(np.array_split(patches, 2)):
        np.save(folder / "embeddings" / f"{photo}-{half}.npy", rows)

# %% [markdown]
# A hasher is fitted on a sample. Each file is encoded a part at a time, to a Parquet file; what is killed goes on
# when it is called again.

# %%
hasher = fh.hashers.ITQ(n_bits=64).fit(patches[::10])
encoded = encode_files(hasher, folder / "embeddings", folder / "codes", part_rows=10_000, engine=ENGINE)
print(f"{len(encoded):,} codes in {len(encoded.parts)} parts")

# %% [markdown]
# The codes become an index in shards. Whoever sees its folder opens it, and nothing but a list of its files is read.

# %%
ShardedIndex.build(folder / "codes", folder / "index", n_shards=3, engine=ENGINE).close()
index = ShardedIndex.open(folder / "index", engine=ENGINE)
queries = hasher.encode(patches[::5000])
hits = index.search(queries, k=3)
print("distances of the 3 nearest, the code itself among them:", *hits.distances.tolist())

# %% [markdown]
# The answers are those of one index of all codes, ties too.

# %%
whole = fh.FlatIndex(n_bits=64)
for path in sorted((folder / "embeddings").iterdir()):
    whole.add(hasher.encode(np.load(path)))
expected = whole.search(queries, k=3)
assert (hits.ids == expected.ids).all()
assert (hits.distances == expected.distances).all()
print(f"the same answers as of one index of {len(whole):,} codes")

# %% [markdown]
# All pairs of near codes go to files, and an index can be changed: its files are replaced by new ones, the list of
# them last.

# %%
pairs = index.pairs(1, folder / "pairs")
index.remove(hits.ids[:, 0])
print(f"{pairs.n_pairs:,} pairs within 1 bit; {len(index):,} codes without the nearest of each query")
index.close()
scratch.cleanup()
