"""A loop in the manner of CSQ: outputs are drawn to the centre of their class; mAP query by query."""

import numpy as np
import torch
from scipy.linalg import hadamard
from sklearn.datasets import load_digits
from torch import nn

BITS = 32


class CentralSimilarity(nn.Module):
    def __init__(self, bits, classes):
        super().__init__()
        rows = torch.from_numpy(hadamard(bits)).float()
        self.register_buffer("centers", torch.cat([rows, -rows])[:classes])

    def forward(self, u, labels):
        h, wanted = torch.tanh(u), (self.centers[labels] + 1) / 2
        central = nn.functional.binary_cross_entropy((h + 1) / 2, wanted)
        return central + 0.001 * (h.abs() - 1).square().mean()


def mean_average_precision(query, query_labels, database, labels):
    query, database, total = np.sign(query), np.sign(database), 0.0
    for code, label in zip(query, query_labels, strict=True):
        relevant = labels == label
        distances = 0.5 * (BITS - database @ code)
        found = relevant[np.argsort(distances, kind="stable")]
        if found.any():
            total += (np.arange(1, found.sum() + 1) / (np.flatnonzero(found) + 1)).mean()
    return total / len(query)


def main(epochs=10):
    torch.manual_seed(0)
    pixels, labels = (torch.from_numpy(x) for x in load_digits(return_X_y=True))
    x = (pixels / 16).float()
    train, query = slice(0, 1408), slice(1408, None)
    network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, BITS))
    criterion = CentralSimilarity(BITS, 10)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(1408).split(64):
            loss = criterion(network(x[train][rows]), labels[train][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        u = network(x).numpy()
    score = mean_average_precision(u[query], labels[query].numpy(), u[train], labels[train].numpy())
    return loss.item(), score


if __name__ == "__main__":
    print("last loss {:.4f}, mAP {:.4f}".format(*main()))
