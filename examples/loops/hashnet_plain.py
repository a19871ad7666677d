"""A loop in the manner of HashNet: a likelihood of pairs, a quantisation term by two sorts, mAP query by query."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

BITS, TOP = 32, 100


def quantization(u):
    n = len(u)
    target = torch.cat([-torch.ones(n // 2, u.shape[1]), torch.ones(n - n // 2, u.shape[1])])
    return (u.sort(dim=0).values - target).square().mean()


def mean_average_precision(query, query_labels, database, labels):
    query, database, total = np.sign(query), np.sign(database), 0.0
    for code, label in zip(query, query_labels, strict=True):
        relevant = labels == label
        distances = 0.5 * (BITS - database @ code)
        found = relevant[np.argsort(distances, kind="stable")][:TOP]
        if found.any():
            total += (np.arange(1, found.sum() + 1) / (np.flatnonzero(found) + 1)).mean()
    return total / len(query)


def main(epochs=10):
    torch.manual_seed(0)
    pixels, labels = (torch.from_numpy(x) for x in load_digits(return_X_y=True))
    x = (pixels / 16).float()
    train, query = slice(0, 1408), slice(1408, None)
    network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, BITS))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(1408).split(64):
            u = network(x[train][rows])
            similar = (labels[train][rows][:, None] == labels[train][rows]).float()
            logits = 10 / BITS * torch.tanh(u) @ torch.tanh(u).T
            pairs = (nn.functional.softplus(logits) - similar * logits).mean()
            loss = pairs + 0.1 * quantization(u)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        u = network(x).numpy()
    score = mean_average_precision(u[query], labels[query].numpy(), u[train], labels[train].numpy())
    return loss.item(), score


if __name__ == "__main__":
    print("last loss {:.4f}, mAP@100 {:.4f}".format(*main()))
