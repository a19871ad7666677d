from __future__ import annotations

import pytest
import torch

from fasthash.recipes.igan.model import DOMAINS, IGAN


@pytest.mark.parametrize("shape", [(6,), (8, 8), (8, 8, 3)])
def test_the_parts_of_the_model_fit_together(shape, tmp_path):
    torch.manual_seed(0)
    model = IGAN(shape, 12, 5).eval()
    items = torch.rand(4, *shape) if len(shape) == 1 else torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    x = model.encoder.prepare(items)
    u = model.hash(x)
    assert u.shape == (4, 12)
    assert u.abs().max() < 1
    torch.testing.assert_close(u, model.encoder(items).tanh())
    assert model.classifier(u).shape == (4, 5)
    for domain in DOMAINS:
        generated = model.generators[domain](u)
        assert generated.shape == x.shape
        assert model.discriminate(domain, generated).shape == (4, 6)
    model.save(tmp_path / "model")
    again = IGAN.load(tmp_path / "model")
    assert torch.equal(again.hash(x), u)
    assert torch.equal(again.discriminate("target", x), model.discriminate("target", x))


@pytest.mark.parametrize("shape", [(6,), (8, 8), (8, 8, 3)])
def test_generators_and_discriminators_are_drawn_anew_and_nothing_else(shape):
    model = IGAN(shape, 12, 5)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    n_means = len(model.encoder.mean)
    means = {"source": torch.full((n_means,), -0.9), "target": torch.linspace(-0.5, 0.5, n_means)}
    model.renew(means)
    changed = {name.split(".")[0] for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {"generators", "discriminators"}
    for domain in DOMAINS:
        generated = model.generators[domain](torch.zeros(1, 12))[0].reshape(n_means, -1).mean(dim=1)
        torch.testing.assert_close(generated, means[domain], atol=0.15, rtol=0)


def test_an_encoder_of_images_is_chosen_by_name(tmp_path):
    model = IGAN((8, 8), 12, 5, network="strided")
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in model.encoder.modules()) == 4
    model.save(tmp_path / "model")
    assert IGAN.load(tmp_path / "model").encoder.architecture == "strided"
    assert IGAN((6,), 12, 5, network="strided").encoder.architecture == "mlp"
