# %% [markdown]
"""
# Your own network and loss, through a recipe

Train your own network by your own loss, and search its codes. The recipe brings splits, batches, evaluation and
files; run again, it goes on where it was interrupted. `out/own_network_and_loss.png` shows what six queries find.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import fasthash as fh

# %% [markdown]
# The network takes items as the data set has them; the loss takes its outputs and the labels.


# %%
class Network(nn.Module):
    def __init__(self, bits):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(32 * 4 * 4, bits)

    def forward(self, images):  # uint8 [n, 8, 8]
        return self.head(self.backbone(images[:, None] / 255))


def loss(u, labels):
    alike = (labels[:, None] == labels).float()
    return nn.functional.mse_loss(u.tanh() @ u.tanh().T / u.shape[1], alike)


# %% [markdown]
# Network and loss are known by their names, and settings must be those of before: what you change trains in another
# `out`.

# %%
torch.manual_seed(0)
digits = fh.data.load_dataset("digits")
settings = fh.recipes.SupervisedSettings(protocol="digits-v1", bits=32, epochs=15, batch_size=32, learning_rate=3e-3)
run = fh.recipes.train(settings, dataset=digits, network=Network(32), loss=loss, out="out/own", resume=True)

# %% [markdown]
# The run encodes whatever the network takes. An index finds the nearest codes.

# %%
database, queries = run.parts.database, run.parts.query
index = fh.FlatIndex(32)
index.add(run.encode(digits.items[database]))
hits = index.search(run.encode(digits.items[queries]), k=10)
right = digits.labels[database][hits.ids] == digits.labels[queries][:, None]
print(f"mAP {run.results['mAP']:.3f}; of the ten nearest, {right.mean():.0%} are of the query's class")

# %% [markdown]
# On the left the query. The first three rows are the first three queries, the others those with the most wrong hits.

# %%
figure, grid = plt.subplots(6, 11, figsize=(8, 4.6), layout="constrained")
for row, query in zip(grid, [0, 1, 2, *np.argsort(right.mean(1), kind="stable")[:3]], strict=True):
    images = digits.items[[queries[query], *database[hits.ids[query]]]]
    for axes, image, color in zip(row, images, ["black", *np.where(right[query], "green", "red")], strict=True):
        axes.imshow(image, cmap="gray_r")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=color, linewidth=2)
figure.savefig("out/own_network_and_loss.png", dpi=120)
