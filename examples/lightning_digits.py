"""Train your network by a loss of ours and Lightning's Trainer, and measure it as it goes; with 2, on two processes."""

import sys

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import fasthash as fh
from fasthash.evaluate.torchmetrics import MeanAveragePrecision, PrecisionAt


class Hashing(lightning.LightningModule):
    def __init__(self, bits):
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, bits))
        self.loss = fh.losses.CSQ(bits, n_classes=10, quantization=fh.losses.HSWD())
        self.metrics = nn.ModuleDict({"mAP": MeanAveragePrecision(), "precision@10": PrecisionAt(10)})

    def setup(self, stage):
        if self.trainer.world_size > 1:  # bits balanced over the batch of all processes, not of each
            self.loss.quantizer.group = torch.distributed.group.WORLD

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)  # those of the loss, where it has some, among them

    def training_step(self, batch, _):
        images, labels, indices = batch
        return self.loss(self.network(images), labels, indices)

    def on_train_epoch_end(self):
        self.loss.end_epoch()  # where a loss learns codes beside the network it renews them

    def validation_step(self, batch, _, dataloader_idx):
        images, labels, _ = batch
        for metric in self.metrics.values():
            metric.update(self.network(images), labels, ("database", "query")[dataloader_idx])

    def on_validation_epoch_end(self):
        for name, metric in self.metrics.items():
            self.log(name, metric.compute(), sync_dist=True)  # equal on all processes already
            metric.reset()


def main(devices):
    lightning.seed_everything(0, verbose=False)
    digits = fh.data.load_dataset("digits")
    order = torch.randperm(len(digits.labels))[:1700]  # a number that processes share evenly: none sees an item twice
    images, labels = torch.from_numpy(digits.items[order] / 16).float(), torch.from_numpy(digits.labels[order])
    items = TensorDataset(images, labels, torch.arange(len(images)))
    database, queries = torch.utils.data.random_split(items, [1400, 300])
    trainer = lightning.Trainer(
        **{"accelerator": "cpu", "devices": devices, "strategy": "ddp" if devices > 1 else "auto", "max_epochs": 8},
        **{"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False},
        num_sanity_val_steps=0,
    )
    model = Hashing(bits=32)
    trainer.fit(model, DataLoader(database, 64, shuffle=True), [DataLoader(database, 256), DataLoader(queries, 256)])
    if trainer.is_global_zero:
        print(", ".join(f"{name} {value:.3f}" for name, value in trainer.callback_metrics.items()))


if __name__ == "__main__":
    main(devices=int(sys.argv[1]) if len(sys.argv) > 1 else 1)
