# %% [markdown]
"""
# A loss in your own training loop

A code is the signs of a network's outputs, so outputs near zero lose what the network knows. A small network learns
codes of handwritten digits by CSQ in plain PyTorch: without a term for quantisation, and with HSWD, which draws the
outputs of each bit to -1 and +1, half of each. `out/own_training_loop.png` shows the outputs before and after.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

import fasthash as fh

BITS = 32
pixels, labels = (torch.from_numpy(x) for x in load_digits(return_X_y=True))
images = (pixels / 16).float()
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
train, query = order[:1497], order[1497:]

# %% [markdown]
# The loop is any loop: a loss takes the raw outputs and the labels. With `quantization="none"` it has no such term. CSQ
# has neither parameters nor anything to do after an epoch; others have.


# %%
def trained(loss, epochs):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, BITS))
    optimizer = torch.optim.Adam([*network.parameters(), *loss.parameters()], lr=1e-3)
    for _ in range(epochs):
        for indices in train[torch.randperm(len(train))].split(64):
            value = loss(network(images[indices]), labels[indices])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        loss.end_epoch()
    with torch.no_grad():
        return network(images)


loss = fh.losses.CSQ(BITS, n_classes=10, quantization="none")
with_hswd = fh.losses.CSQ(BITS, n_classes=10, quantization=fh.losses.HSWD())
outputs = {"before": trained(loss, 0), "CSQ alone": trained(loss, 10), "CSQ with HSWD": trained(with_hswd, 10)}

# %% [markdown]
# What the codes of 300 other images retrieve, and the mean angle of outputs to their signs. One seed: a point of mAP
# more or less may be chance.

# %%
for name, u in outputs.items():
    codes = fh.pack_bits(u)
    value = fh.evaluate.mean_average_precision(codes[query], labels[query], codes[train], labels[train])
    angle = torch.tensor(fh.evaluate.quantization_angle(u)).rad2deg()
    print(f"{name:14} mAP {value:.3f}, angle to the signs {angle:.0f} degrees")

# %%
figure, all_axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for axes, (name, u) in zip(all_axes, outputs.items(), strict=True):
    axes.hist(u[query].flatten().numpy(), bins=80)
    axes.set(title=name, xlabel="output", yticks=[])
all_axes[0].set_ylabel("how many")
Path("out").mkdir(exist_ok=True)
figure.savefig("out/own_training_loop.png", dpi=120)
