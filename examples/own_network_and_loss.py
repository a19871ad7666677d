"""Train your own network by your own loss, and search its codes; run again, it goes on where it was interrupted."""

import torch
from torch import nn

import fasthash as fh


class Network(nn.Module):
    def __init__(self, bits):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(32 * 4 * 4, bits)

    def forward(self, images):  # uint8 [n, 8, 8], as the data set has them
        return self.head(self.backbone(images[:, None] / 255))


def loss(u, labels):
    alike = (labels[:, None] == labels).float()
    return nn.functional.mse_loss(u.tanh() @ u.tanh().T / u.shape[1], alike)


torch.manual_seed(0)
digits = fh.data.load_dataset("digits")
settings = fh.recipes.SupervisedSettings(protocol="digits-v1", bits=32, epochs=15, batch_size=32, learning_rate=3e-3)
run = fh.recipes.train(settings, dataset=digits, network=Network(32), loss=loss, out="out/own", resume=True)

index = fh.FlatIndex(32)
index.add(run.encode(digits.items[run.parts.database]))
hits = index.search(run.encode(digits.items[run.parts.query]), k=10)
found = digits.labels[run.parts.database][hits.ids]
share = (found == digits.labels[run.parts.query][:, None]).mean()
print(f"mAP {run.results['mAP']:.3f}; of the ten nearest, {share:.0%} are of the query's class")
