"""A loop in the manner of CSQ: outputs are drawn to the centre of their class; both by fasthash."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import fasthash as fh

BITS = 32


def mean_average_precision(query, query_labels, database, labels):
    query, database = np.where(query > 0, 1, -1), np.where(database > 0, 1, -1)
    return fh.evaluate.mean_average_precision(query, query_labels, database, labels, ties="index")


def main(epochs=10):
    torch.manual_seed(0)
    pixels, labels = (torch.from_numpy(x) for x in load_digits(return_X_y=True))
    x = (pixels / 16).float()
    train, query = slice(0, 1408), slice(1408, None)
    network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, BITS))
    criterion = fh.losses.CSQ(BITS, 10)
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
