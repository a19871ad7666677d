"""The losses where pytorch-metric-learning calls its own: beside them and weighted; its pairs are refused."""

from __future__ import annotations

import pytest
import torch

from fasthash import losses

pytest.importorskip("pytorch_metric_learning")
from pytorch_metric_learning import losses as theirs
from pytorch_metric_learning import miners, regularizers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # theirs
LABELS = torch.arange(16) % 4


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
