"""Domain-adaptive hashing with intersectant generative adversarial networks (IGAN)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from fasthash.evaluate import mean_average_precision
from fasthash.ops.packing import pack_bits
from fasthash.recipes.batches import Loaded
from fasthash.recipes.evaluation import evaluate_codes
from fasthash.recipes.igan.domains import PairedBatches, balanced_batches, comparable, repeated_batches
from fasthash.recipes.igan.losses import (
    UNLABELLED,
    discriminator_loss,
    generator_loss,
    label_prediction_loss,
    pseudo_labels,
    reconstruction_loss,
    semantic_centroid_loss,
    supervised_hash_loss,
)
from fasthash.recipes.igan.model import DOMAINS, IGAN
from fasthash.recipes.loop import Given, Training
from fasthash.recipes.protocols import PROTOCOLS
from fasthash.recipes.ranks import seed_epoch
from fasthash.recipes.settings import IGANSettings

_BETAS = (0.5, 0.999)


def unlabelled_evidence(logits: torch.Tensor, threshold: float) -> dict[str, float]:
    """Return what tells an adaptation from a failed one without a label.

    Args:
        logits: [n, n_classes].
        threshold: T.

    Returns:
        "information", the mutual information of item and predicted class in nats, at most log n_classes: predictions
        that are certain one by one and even in the whole have most; "certain", the share of pseudo-labelled items.
    """
    p = logits.double().softmax(dim=1)
    information = torch.special.entr(p.mean(dim=0)).sum() - torch.special.entr(p).sum(dim=1).mean()
    return {
        "information": float(information),
        "certain": float((pseudo_labels(logits, threshold) != UNLABELLED).double().mean()),
    }


def _deviations(real: Mapping[str, torch.Tensor], generated: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return by domain how much generated items differ from one another, as a share of what real ones do."""

    def deviation(x: torch.Tensor) -> torch.Tensor:
        return x.detach().std(dim=0, correction=0).mean()

    return {f"deviation_{domain}": deviation(generated[domain]) / deviation(real[domain]) for domain in DOMAINS}


class IGANTraining(Training[IGANSettings]):
    """Train a hash function on a labelled domain and an unlabelled one, and measure what it retrieves in the latter.

    An epoch is `epoch_steps` steps, whatever the domains' sizes. After `source_epochs` of L_c on the source alone, each
    step takes a batch of both domains, as many source items of each class, and makes two steps: the discriminators', on
    their side of L_a (`discriminator_loss`); the encoder's, the classifier's and the generators', on the weighted sum
    of L_c (`label_prediction_loss`), L_h (`supervised_hash_loss`), L_s (`semantic_centroid_loss`), their side of L_a
    (`generator_loss`) and L_1 (`reconstruction_loss`). A loss of weight 0 is not computed. Within the first
    `ramp_epochs` of these the weights of what rests on pseudo-labels grow to their values. Adam makes the steps; the
    last epoch is kept. The target's labels are not looked at before the end.

    `Run.network` is the encoder and `Run.modules` has the whole model, "igan", which is also written to
    igan.safetensors. `Run.results` are of the target's queries: "accuracy", and in the target's database "mAP" and
    others; "mAP_in_source", in the source's; "mAP_of_classes", by predicted class instead of code; "source_accuracy" on
    the source's validation items; "information" and "certain" of the target's training items, see
    `unlabelled_evidence`. The log has the losses by the paper's names, "pseudo_labelled", and how much the items that
    each generator makes differ from one another, as a share of real ones' deviation, "deviation_source" and
    "deviation_target": near 0 the generator gives one item for all.

    Raises:
        ValueError: if the domains do not fit together, a class has no source items, or a batch is smaller than the
            number of classes or larger than a domain.

    Source: He, Li, Gao, Zhang, Song, "One Network for Multi-Domains: Domain Adaptive Hashing with Intersectant
    Generative Adversarial Networks", 2019.
    """

    takes_ranks = True

    def __init__(self, settings: IGANSettings, given: Given) -> None:
        (ours, parts), (theirs, their_parts) = given.data
        ours, theirs = comparable(ours, theirs, settings.image_size)
        super().__init__(settings, replace(given, data=[(ours, parts), (theirs, their_parts)]))
        self.title = f"{ours.name} to {theirs.name}, {settings.bits} bits"
        self.n_classes = ours.n_classes
        (self.held_out,) = self.loaded(parts.validation)
        self.target, self.target_query, self.target_database = Loaded.parts(
            theirs, (their_parts.train, their_parts.query, their_parts.database)
        )
        self._check_batches(theirs.name)
        seed_epoch(settings.seed, 0)
        self.model = IGAN(ours.items[0].shape, settings.bits, self.n_classes, settings.network).to(self.device)
        self.model.encoder.standardize(*self._moments())
        self.means = {
            domain: self._mean(items) for domain, items in zip(DOMAINS, (self.train, self.target), strict=True)
        }
        self.network, self.modules["igan"] = self.model.encoder, self.model
        self.optimizer = self._adam(self.model.encoder, self.model.classifier)
        self._begin_stage()

    def _check_batches(self, target: str) -> None:
        batch_size = self.settings.batch_size
        if batch_size < self.n_classes:
            raise ValueError(f"train: expected batch_size of at least the {self.n_classes} classes, got {batch_size}")
        self.check_shares(batch_size // self.n_classes * self.n_classes)
        if len(self.target) < batch_size:
            raise ValueError(
                f"train: expected batch_size of at most the {len(self.target)} training items of {target}, got "
                f"{batch_size}"
            )
        counts = torch.bincount(self.train.labels, minlength=self.n_classes)
        if not counts.all():
            names = ", ".join(self.dataset.class_names[i] for i in torch.nonzero(counts == 0)[:, 0])
            raise ValueError(
                f"train: expected training items of each class in {self.dataset.name}, got none of {names}"
            )

    def _moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what brings images to [-1, 1], or both domains' features to mean 0 and deviation 1."""
        mean = self.model.encoder.mean
        if len(self.model.encoder.item_shape) > 1:
            return torch.full_like(mean, 0.5), torch.full_like(mean, 0.5)
        x = torch.from_numpy(
            np.concatenate([part.items[part.positions] for part in (self.train, self.target)])
        ).double()
        return x.mean(dim=0), x.std(dim=0, correction=0)

    def _mean(self, items: Loaded) -> torch.Tensor:
        """Return the mean of prepared items, by colour [c] or by feature [d]."""
        n, sums = 0, torch.zeros(())
        for batch, _, _ in items.in_order():
            x = self.model.encoder.prepare(batch.to(self.device))
            n, sums = n + x.numel() // x.shape[1], sums + x.sum(dim=(0, *range(2, x.ndim)), dtype=torch.double).cpu()
        return (sums / n).float()

    def _adam(self, *modules: nn.Module) -> torch.optim.Adam:
        weights = [each for module in modules for each in module.parameters()]
        return torch.optim.Adam(weights, lr=self.settings.learning_rate, betas=_BETAS, fused=True)

    def _begin_stage(self) -> None:
        self.model.renew(self.means)
        self.generator_optimizer = self._adam(self.model.generators)
        self.discriminator_optimizer = self._adam(self.model.discriminators)
        self.state = {
            "model": self.model,
            "optimizer": self.optimizer,
            "generator_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def batches(self, epoch: int) -> PairedBatches:
        """Return batches of both domains, as many source items of each class."""
        size, n_batches = self.settings.batch_size, self.settings.epoch_steps
        generator = np.random.default_rng([self.settings.seed, epoch])
        ours = balanced_batches(self.train.labels.numpy(), self.n_classes, size, n_batches, generator)
        theirs = repeated_batches(len(self.target), size, n_batches, generator)
        own = self.given.ranks.own
        return PairedBatches(self.train.batches([*map(own, ours)]), self.target.batches([*map(own, theirs)]))

    def begin_epoch(self, epoch: int) -> None:
        """Set the weight of what rests on pseudo-labels, and begin a stage where one is due."""
        settings = self.settings
        adapted = epoch - settings.source_epochs  # epochs of adaptation, this one included
        self.share = min(max(adapted, 0) / settings.ramp_epochs, 1.0)
        n_stage = max(-(-(settings.epochs - settings.source_epochs) // settings.stages), 1)
        if adapted > 0 and adapted % n_stage == 1 % n_stage:
            seed_epoch(settings.seed, epoch)
            self._begin_stage()
        self.model.train()

    def step(
        self, number: int, items: torch.Tensor, labels: torch.Tensor, others: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Make the steps of a batch of source items, their labels, and target items."""
        model, settings, whole = self.model, self.settings, self.given.ranks.gathered
        labels, source = whole(labels), model.encoder.prepare(items)
        if self.share == 0:
            loss = functional.cross_entropy(model.classifier(whole(model.hash(source))), labels)
            self.learn(loss, self.optimizer)
            return {"L_c": loss}
        target = model.encoder.prepare(others)
        own = torch.split(model.hash(torch.cat([source, target])), [len(source), len(target)])
        u_s, u_t = map(whole, own)
        logits_s, logits_t = torch.split(model.classifier(torch.cat([u_s, u_t])), [len(u_s), len(u_t)])
        pseudo = pseudo_labels(logits_t, settings.threshold)
        log = {"pseudo_labelled": (pseudo != UNLABELLED).float().mean()}

        terms: dict[str, tuple[float, torch.Tensor]] = {}
        if settings.classification > 0:
            loss = label_prediction_loss(logits_s, labels, logits_t, pseudo, self.share * settings.epsilon)
            terms["L_c"] = settings.classification, loss
        if settings.alpha > 0:
            terms["L_h"] = settings.alpha, supervised_hash_loss(u_s, labels, settings.v, settings.quantization)
        if settings.beta > 0:
            loss = semantic_centroid_loss(u_s, labels, u_t, pseudo, self.n_classes)
            terms["L_s"] = self.share * settings.beta, loss
        if settings.adversarial > 0:
            fakes = {"source": model.generators["source"](own[1]), "target": model.generators["target"](own[0])}
            log["D"] = self._discriminate(source, labels, target, pseudo, fakes)
            log |= _deviations({"source": source, "target": target}, fakes)
            judged = {domain: whole(model.discriminate(domain, x)) for domain, x in fakes.items()}
            loss = generator_loss(judged["source"], pseudo, judged["target"], labels)
            terms["L_a"] = self.share * settings.adversarial, loss
        if settings.chi > 0:
            again = {domain: model.generators[domain](u) for domain, u in zip(DOMAINS, own, strict=True)}
            log |= _deviations({"source": source, "target": target}, again)
            terms["L_1"] = settings.chi, reconstruction_loss(source, again["source"], target, again["target"])

        total = torch.stack([weight * term for weight, term in terms.values()]).sum()
        self.learn(total, self.optimizer, self.generator_optimizer)
        return {**{name: term for name, (_, term) in terms.items()}, **log}

    def _discriminate(
        self,
        source: torch.Tensor,
        labels: torch.Tensor,
        target: torch.Tensor,
        pseudo: torch.Tensor,
        fakes: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:
        """Make the discriminators' step; what follows leaves them as they are."""
        model, whole = self.model, self.given.ranks.gathered
        model.discriminators.requires_grad_(True)
        judged = [whole(model.discriminate(domain, x.detach())) for domain, x in fakes.items()]
        real = whole(model.discriminate("source", source)), whole(model.discriminate("target", target))
        loss = discriminator_loss(real[0], labels, real[1], pseudo, *judged)
        self.learn(loss, self.discriminator_optimizer)
        model.discriminators.requires_grad_(False)
        return loss

    def evaluate(self) -> dict[str, float]:
        """Return what the target's queries retrieve, and how well classes are told."""
        self.model.eval()
        at = PROTOCOLS[self.settings.protocol].map_at
        query, database, ours = (self.outputs(x) for x in (self.target_query, self.target_database, self.database))
        labels, theirs = self.target_query.labels, self.target_database.labels
        predicted, of_database = (self._logits(u).argmax(dim=1) for u in (query, database))
        results = {"accuracy": float((predicted == labels).double().mean())}
        results |= evaluate_codes(query, labels, database, theirs, at)
        results["mAP_in_source"] = mean_average_precision(
            pack_bits(query), labels, pack_bits(ours), self.database.labels, at=at
        )
        results["mAP_of_classes"] = mean_average_precision(
            self._class_codes(predicted), labels, self._class_codes(of_database), theirs, at=at
        )
        if len(self.held_out):
            logits = self._logits(self.outputs(self.held_out))
            results["source_accuracy"] = float((logits.argmax(dim=1) == self.held_out.labels).double().mean())
        unlabelled = self._logits(self.outputs(self.target))
        return results | unlabelled_evidence(unlabelled, self.settings.threshold)

    def save(self, folder: Path) -> None:
        """Write the encoder and the whole model."""
        super().save(folder)
        self.model.save(folder / "igan.safetensors")

    def _logits(self, outputs: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            logits: torch.Tensor = self.model.classifier(outputs.tanh().to(self.device)).cpu()
        return logits

    def _class_codes(self, predicted: torch.Tensor) -> torch.Tensor:
        codes: torch.Tensor = pack_bits(functional.one_hot(predicted, self.n_classes).float() - 0.5)
        return codes
