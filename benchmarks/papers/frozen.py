"""The features that the supervised losses learn from on a CPU, and rotations of what they learn."""

from __future__ import annotations

import functools
import time

from benchmarks.papers.features import classified, train_classifier
from benchmarks.papers.grid import Cell
from fasthash.hashers import H2Q, ITQ
from fasthash.recipes.batches import Loaded
from fasthash.recipes.evaluation import evaluate_codes, network_outputs
from fasthash.recipes.protocols import split

ROTATIONS = {
    "ITQ": lambda n_bits, seed: ITQ(n_bits, random_state=seed),
    **{
        f"H2Q {loss}": lambda n_bits, seed, loss=loss: H2Q(n_bits, loss=loss, center=False, random_state=seed)
        for loss in ("l2", "l1", "min_entry", "bit_var")
    },
}


class Frozen:
    """The features of a data set's items by the network "cnn", trained once to classify the training items.

    Args:
        options: the command line's.
        dataset: name or path.
        protocol: who trains.
        epochs: of the network.
        augmentation: of the training images.

    Attributes:
        cell: that trains the network.
    """

    def __init__(self, options, dataset, protocol, epochs, augmentation):
        self.options, self.dataset, self.protocol = options, dataset, protocol
        self.learning = {"epochs": epochs, "augmentation": augmentation}
        given = {"dataset": dataset, "protocol": protocol, "classifier": self.learning}
        self.cell = Cell({"table": "classifier"}, given=given)

    @property
    def images(self):
        return self.options.load(self.dataset)

    @functools.cached_property
    def parts(self):
        return split(self.images, self.protocol)

    @functools.cache  # noqa: B019 (one for a process)
    def features(self, grid):
        """The data set with the features in the place of its images, and the network's accuracy."""
        grid.finish(self.cell, lambda cell: self.train(grid))
        return classified(self._file(grid), self.images)

    def train(self, grid):
        """Write the features; there are no rows."""
        train_classifier(self._file(grid), self.images, self.parts, **self.learning, device=self.options.device)
        return ()

    def _file(self, grid):
        return grid.folder(self.cell) / "features.npz"


def rotated(dataset, parts, network, settings, **rule):
    """What the outputs of a network retrieve as they are, and by each rotation fitted to those of the training items.

    `rule` is how `evaluate_codes` counts.
    """
    train, query, database = (
        Loaded(dataset.items, dataset.labels, x) for x in (parts.train, parts.query, parts.database)
    )
    u, zq, z = (network_outputs(network, x) for x in (train, query, database))
    yield {"variant": "none", **evaluate_codes(zq, query.labels, z, database.labels, **rule)}
    for variant, make in ROTATIONS.items():
        start = time.perf_counter()
        rotation = make(settings.bits, settings.seed).fit(u)
        seconds = time.perf_counter() - start
        turned = rotation.transform(zq), query.labels, rotation.transform(z), database.labels
        yield {"variant": variant, **evaluate_codes(*turned, **rule), "fit_s": seconds}
