"""A loop in the manner of H2Q: reflections, one after the other, that turn embeddings to their signs; mAP."""

import numpy as np
import torch
from sklearn.datasets import load_digits

BITS = 64


def rotated(x, v):
    for reflection in v.flip(0):
        x = x - 2 * torch.outer(x @ reflection, reflection) / (reflection @ reflection)
    return x


def mean_average_precision(query, query_labels, database, labels):
    query, database, total = np.sign(query), np.sign(database), 0.0
    for code, label in zip(query, query_labels, strict=True):
        relevant = labels == label
        distances = 0.5 * (BITS - database @ code)
        found = relevant[np.argsort(distances, kind="stable")]
        if found.any():
            total += (np.arange(1, found.sum() + 1) / (np.flatnonzero(found) + 1)).mean()
    return total / len(query)


def main(steps=200):
    torch.manual_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(pixels).float()
    x = x - x.mean(0)
    x *= BITS**0.5 / x.norm(dim=1, keepdim=True)
    v = torch.randn(BITS, BITS).requires_grad_()
    optimizer = torch.optim.Adam([v], 1e-2)
    for _ in range(steps):
        z = rotated(x[torch.randint(0, 1408, (128,))], v)
        loss = (z.abs() - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        u = rotated(x, v).numpy()
    return loss.item(), mean_average_precision(u[1408:], labels[1408:], u[:1408], labels[:1408])


if __name__ == "__main__":
    print("last loss {:.4f}, mAP {:.4f}".format(*main()))
