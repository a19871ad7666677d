from __future__ import annotations

import torch

from fasthash.errors import check_integer, check_number
from fasthash.losses.base import MAX_CELLS, Quantization, share_label
from fasthash.losses.training_set import TrainingSetLoss, descend_bits, sums_by_group


class ADSH(TrainingSetLoss):
    """Asymmetric deep supervised hashing: inner products of outputs with learned codes fit the similarities.

    The mean over items of the batch and codes V of the whole training set of (<h_i, v_j> - n_bits s'_ij)^2, h = tanh u,
    where s' is 1 for similar pairs and -r for others, r the number of similar pairs over that of others. The
    quantisation term is the mean of (h - v)^2 to the batch's codes. Every n_inner epochs `end_epoch` lowers the sum of
    both over the codes, a bit at a time; its h are those of the items seen since it last did, a sample or all.

    Where another term stands for the original, the codes are still learned, near h by gamma, but only the similarities
    draw the network to them.

    The squares are expanded: a batch needs the Gram matrix of the codes and their sums by set of labels, not the codes
    themselves, and no step needs the similarities of more than a block of pairs.

    Args:
        labels: of the whole training set, classes [N] or several an item [N, n_classes], in the order of `indices`.
        n_bits: at least 1.
        n_classes: at least 2.
        gamma: of the outputs' distance to their codes, at least 0; the paper has 200 for N of 50,000 and more.
        n_inner: epochs between renewals of the codes, at least 1.
        seed: of the first codes, which are random.
        quantization: see `HashingLoss`.
        quantization_weight: see `HashingLoss`; gamma n_bits / N for the original.

    Attributes:
        outputs: h of the items seen since the codes were renewed, [N, n_bits], part of the state.
        codes: V, -1 and +1 [N, n_bits], part of the state.
        n_epochs: how many have ended, part of the state.

    Source: Jiang, Li, "Asymmetric Deep Supervised Hashing", 2018, and the authors' code, where 2,000 items are drawn
    for every 3 epochs. H2Q's comparison has no tanh.
    """

    n_epochs: torch.Tensor
    groups: torch.Tensor
    group_labels: torch.Tensor
    group_sizes: torch.Tensor
    group_sums: torch.Tensor
    gram: torch.Tensor

    def __init__(
        self,
        labels: torch.Tensor,
        n_bits: int,
        n_classes: int,
        gamma: float = 200.0,
        n_inner: int = 3,
        seed: int = 0,
        *,
        quantization: Quantization = "original",
        quantization_weight: float | None = None,
    ) -> None:
        self.gamma = check_number("ADSH", "gamma", gamma, minimum=0)
        self.n_inner = check_integer("ADSH", "n_inner", n_inner, 1)
        super().__init__(labels, n_bits, n_classes, seed, quantization, quantization_weight)
        if self.quantization == "original" and quantization_weight is None:
            self.quantization_weight = self.gamma * n_bits / len(labels)
        self.register_buffer("n_epochs", torch.zeros((), dtype=torch.int64, device=labels.device))
        group_labels, groups, sizes = torch.unique(self.labels, dim=0, return_inverse=True, return_counts=True)
        self.register_buffer("group_labels", group_labels, persistent=False)
        self.register_buffer("groups", groups, persistent=False)
        self.register_buffer("group_sizes", sizes, persistent=False)
        n_similar = int(self._sum_similar(sizes[:, None].double())[:, 0] @ sizes.double())
        n_others = len(labels) ** 2 - n_similar
        self.ratio = n_similar / n_others if n_others else 0.0
        self.register_buffer("group_sums", self.codes.new_empty(len(sizes), self.codes.shape[1]))
        self.register_buffer("gram", self.codes.new_empty(2 * (self.codes.shape[1],)))
        self._sum_codes()

    def activation(self, u: torch.Tensor) -> torch.Tensor:
        """Return tanh u."""
        return torch.tanh(u)

    def similarity(self, u: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean square error of the inner products with all codes."""
        h = torch.tanh(self.precise(u))
        n_items, n_bits = self.codes.shape
        sums, sizes, gram = self.group_sums.to(h.dtype), self.group_sizes.to(h.dtype), self.gram.to(h.dtype)
        with torch.autocast(u.device.type, enabled=False):
            similar = share_label(labels, self.group_labels).to(h.dtype)
            drawn = (1 + self.ratio) * similar @ sums - self.ratio * sums.sum(0)  # S' V
            share = similar @ sizes / n_items
            squares = (h @ gram * h).sum(1) - 2 * n_bits * (h * drawn).sum(1)
            return (squares / n_items + n_bits**2 * (share + self.ratio**2 * (1 - share))).mean()

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Count the epoch; after every n_inner of them renew the codes and forget the outputs."""
        self.n_epochs += 1
        if self.n_epochs % self.n_inner:
            return
        sums = sums_by_group(self.outputs, self.groups, len(self.group_sizes))
        drawn = (1 + self.ratio) * self._sum_similar(sums)[self.groups] - self.ratio * sums.sum(0)  # S'^T U
        wanted = self.codes.shape[1] * drawn + self.gamma * self.outputs
        self.codes.copy_(descend_bits(self.codes, wanted, self.outputs.T @ self.outputs, n_sweeps=1))
        self.outputs.zero_()
        self._sum_codes()

    def _sum_similar(self, x: torch.Tensor) -> torch.Tensor:
        """Return for each group the sum of the rows of `x`, one a group, over the groups that share a label with it."""
        parts = torch.split(self.group_labels, max(1, MAX_CELLS // len(self.group_labels)))
        return torch.cat([share_label(part, self.group_labels).to(x.dtype) @ x for part in parts])

    def _sum_codes(self) -> None:
        self.group_sums.copy_(sums_by_group(self.codes, self.groups, len(self.group_sizes)))
        self.gram.copy_(self.codes.T @ self.codes)
