"""The losses where pytorch-metric-learning calls its own: beside them and weighted; its pairs are refused."""

from __future__ import annotations

import pytest
import torch

from fasthash import losses

pytest.importorskip("pytorch_metric_learning")
from pytorch_metric_learning import losses as theirs
from pytorch_metric_learning import miners, regularizers, trainers
from pytorch_metric_learning.utils import distributed

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # theirs
LABELS = torch.arange(16) % 4
hardest = miners.BatchHardMiner


@pytest.fixture
def u():
    return torch.randn(16, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()


def test_called_as_its_trainers_call_a_loss(u):
    expected = losses.CEL()(u, LABELS)
    assert losses.CEL()(u, LABELS, None) == expected


def test_beside_its_losses_and_regularizers(u):
    contrastive = theirs.ContrastiveLoss(embedding_regularizer=regularizers.LpRegularizer(), embedding_reg_weight=0.1)
    both = theirs.MultipleLosses([losses.DPSH(quantization="hswd"), contrastive], weights=[2, 1])
    expected = 2 * losses.DPSH(quantization="hswd")(u, LABELS) + contrastive(u, LABELS)
    value = both(u, LABELS)
    torch.testing.assert_close(value, expected)
    value.backward()
    assert u.grad.isfinite().all()


@pytest.mark.parametrize("kind", [miners.MultiSimilarityMiner, miners.TripletMarginMiner])
def test_pairs_and_triplets_are_refused(u, kind):
    with pytest.raises(TypeError, match="^CEL: expected indices to be a tensor, got a tuple; a miner's pairs"):
        losses.CEL()(u, LABELS, kind()(u, LABELS))


def test_its_regularizers_are_quantisation_terms(u):
    regularizer = regularizers.LpRegularizer()
    loss = losses.DPSH(quantization=regularizer, quantization_weight=0.2)
    torch.testing.assert_close(loss(u, LABELS), losses.DPSH(quantization="none")(u, LABELS) + 0.2 * regularizer(u))


def test_miners_and_wrappers_of_its_losses_beside_ours(u):
    contrastive = theirs.ContrastiveLoss()
    wrapped = distributed.DistributedLossWrapper(contrastive)
    miner = miners.MultiSimilarityMiner()
    both = theirs.MultipleLosses([losses.CEL(), wrapped], miners=[None, miner])
    torch.testing.assert_close(both(u, LABELS), losses.CEL()(u, LABELS) + contrastive(u, LABELS, miner(u, LABELS)))
    with pytest.raises(TypeError, match="must extend BaseMetricLossFunction"):  # it gathers pairs for those alone
        distributed.DistributedLossWrapper(losses.CEL())


@pytest.mark.parametrize(
    ("loss", "miner"),
    [
        (lambda: losses.CSQ(8, 4, quantization="hswd"), None),
        (lambda: losses.HyP2(8, 4), None),
        (
            lambda: theirs.MultipleLosses(
                [losses.DCH(), theirs.ContrastiveLoss()], miners=[None, miners.BatchHardMiner()]
            ),
            None,
        ),
        (losses.DCH, miners.MultiSimilarityMiner),
    ],
    ids=["CSQ", "HyP2", "DCH beside its loss with a miner", "DCH with a miner"],
)
def test_in_its_trainer(loss, miner):
    torch.manual_seed(0)
    x = torch.nn.functional.one_hot(LABELS, 4).float().repeat(8, 1) + 0.1 * torch.randn(128, 4)
    items = torch.utils.data.TensorDataset(x, LABELS.repeat(8))
    network, made = torch.nn.Linear(4, 8), loss()
    value = lambda: float(made(network(x), LABELS.repeat(8)).detach())  # noqa: E731
    before = value()
    trainer = trainers.MetricLossOnly(
        models={"trunk": network},
        optimizers={"trunk_optimizer": torch.optim.Adam([*network.parameters(), *made.parameters()], lr=0.05)},
        batch_size=32,
        loss_funcs={"metric_loss": made},
        mining_funcs={} if miner is None else {"tuple_miner": miner()},
        dataset=items,
        dataloader_num_workers=0,
    )
    if miner is not None:
        with pytest.raises(TypeError, match="^DCH: expected indices to be a tensor, got a tuple; a miner's pairs"):
            trainer.train(num_epochs=1)
        return
    trainer.train(num_epochs=3)
    assert value() < before
