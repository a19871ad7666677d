# %% [markdown]
"""
# Fit a hasher

Four hashers learn codes of scikit-learn's handwritten digits: random hyperplanes (LSH), two rotations (ITQ, H2Q) and
a map that keeps neighbours (NeighborHashing). How many of the ten nearest images are among the ten nearest codes, and
how well are classes kept together, of which no hasher is told? `out/fit_hasher.png` shows both over the length of the
codes.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fasthash as fh

# %% [markdown]
# 300 images ask; the others are searched, and hashers are fitted on these alone. The truth is the distance of the
# pixels.

# %%
BITS, K = [16, 32, 64], 10
images, labels = load_digits(return_X_y=True)
database, queries, database_labels, query_labels = train_test_split(images, labels, test_size=300, random_state=0)
squares = ((queries[:, None] - database) ** 2).sum(2)
nearest = squares.argsort(axis=1, kind="stable")[:, :K]

# %% [markdown]
# A hasher is an estimator of scikit-learn: `fit`, then `encode` to packed codes. NeighborHashing has fewer and
# smaller batches here than by default, as the data set is small.

# %%
HASHERS = {
    "LSH": fh.hashers.LSH,
    "ITQ": fh.hashers.ITQ,
    "H2Q": fh.hashers.H2Q,
    "NeighborHashing": lambda n_bits: fh.hashers.NeighborHashing(n_bits, n_iterations=200, batch_size=256),
}


def measured(hasher):
    codes, query_codes = hasher.encode(database), hasher.encode(queries)
    found = fh.hamming_topk(query_codes, codes, K).ids
    recall = np.mean([len(set(ours) & set(true)) / K for ours, true in zip(found, nearest, strict=True)])
    return recall, fh.evaluate.mean_average_precision(query_codes, query_labels, codes, database_labels)


values = {name: [measured(make(bits).fit(database)) for bits in BITS] for name, make in HASHERS.items()}
print("recall@10, mAP " + "".join(f"{bits:>12} bits" for bits in BITS))
for name, row in values.items():
    print(f"{name:16}" + "".join(f"    {recall:.3f}, {precision:.3f}" for recall, precision in row))

# %% [markdown]
# One split and one seed: differences of a point or two may be chance. `compare_methods.py` shows how to tell.

# %%
figure, both = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for column, (axes, title) in enumerate(zip(both, ["recall of the 10 nearest", "mAP by class"], strict=True)):
    for (name, row), marker in zip(values.items(), "os^D", strict=True):
        axes.plot(BITS, [value[column] for value in row], marker=marker, label=name)
    axes.set(xlabel="bits", title=title, xticks=BITS)
    axes.grid(alpha=0.3)
both[0].legend()
Path("out").mkdir(exist_ok=True)
figure.savefig("out/fit_hasher.png", dpi=120)
