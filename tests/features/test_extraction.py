"""Features of data sets of every kind, made whole and in parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from fasthash.cli import main
from fasthash.data import Dataset, load_dataset, read_array
from fasthash.features import extract, extraction
from fasthash.recipes import AutoencoderSettings, IGANSettings, train
from tests.data.conftest import write_image
from tests.features.conftest import Small, by_hand


def test_features_of_gray_images(gray, network, tmp_path):
    path = tmp_path / "features.npz"
    assert extract(gray, path, network, layer="body", batch_size=3, part_size=4, device="cpu") == (10, 5)
    dataset = load_dataset(path)
    np.testing.assert_allclose(dataset.items, by_hand(network, gray.items)[1].detach(), rtol=1e-6, atol=1e-7)
    assert np.array_equal(dataset.labels, gray.labels)
    assert dataset.splits.keys() == gray.splits.keys()
    assert [path] == list(tmp_path.iterdir())
    half = tmp_path / "half.npz"
    extract(gray, half, network, layer="body", dtype="float16", device="cpu")
    assert np.array_equal(read_array(f"{half}:features"), dataset.items.astype(np.float16))


@pytest.mark.parametrize("workers", [0, 2])
def test_features_of_image_files(network, tmp_path, workers):
    for i, name in enumerate(("train/a/1", "train/b/1", "test/a/1", "test/b/1")):
        write_image(tmp_path / "set" / f"{name}.png", 60 * i, size=(5 + i, 4))
    assert extract(tmp_path / "set", tmp_path / "x.npz", network, device="cpu", workers=workers) == (4, 2)
    dataset = load_dataset(tmp_path / "x.npz")
    files = load_dataset(tmp_path / "set")
    images = np.stack([files.items[i][:4, :4, 0] for i in range(4)])
    np.testing.assert_allclose(dataset.items, by_hand(network, images)[2].detach(), rtol=1e-5, atol=1e-6)
    assert dataset.labels.tolist() == files.labels.tolist()
    assert dataset.class_names == ("a", "b")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_told_by_its_file(network, tmp_path, workers):
    for i in range(3):
        write_image(tmp_path / "set" / "a" / f"{i}.png")
    (tmp_path / "set" / "a" / "1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="expected an image") as caught:
        extract(tmp_path / "set", tmp_path / "x.npz", network, device="cpu", workers=workers)
    file = tmp_path / "set" / "a" / "1.png"
    expected = f"{file}: expected an image that Pillow can decode, got cannot identify image file"
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_some_items_of_each_class(rng, network, tmp_path):
    for i in range(9):
        write_image(tmp_path / "set" / ("train" if i < 6 else "test") / "abc"[i % 3] / f"{i}.png", 25 * i)
    extract(tmp_path / "set", tmp_path / "all.npz", network, device="cpu")
    assert extract(tmp_path / "set", tmp_path / "two.npz", network, per_class=2, device="cpu") == (6, 2)
    whole, two, other = load_dataset(tmp_path / "all.npz"), load_dataset(tmp_path / "two.npz"), tmp_path / "other.npz"
    assert np.bincount(two.labels).tolist() == [2, 2, 2]
    rows = [int(np.flatnonzero((whole.items == item).all(1))[0]) for item in two.items]
    assert rows == sorted(rows)
    assert np.array_equal(whole.labels[rows], two.labels)
    for name in ("train", "test"):
        assert [rows[i] for i in two.splits[name]] == [i for i in whole.splits[name] if i in rows]
    extract(tmp_path / "set", other, network, per_class=2, seed=1, device="cpu")
    assert not np.array_equal(load_dataset(other).items, two.items)
    several = Dataset("s", np.zeros((3, 4, 4), np.uint8), np.eye(3, dtype=bool), {}, tuple("abc"))
    with pytest.raises(ValueError, match="expected one label an item to draw per_class, but s has several"):
        extract(several, tmp_path / "x.npz", network, per_class=1)


class CountedNetwork(Small):
    """Counts images, and is interrupted in the place of one batch."""

    seen, interrupted_at = 0, None

    def forward(self, images):
        if CountedNetwork.seen == CountedNetwork.interrupted_at:
            raise KeyboardInterrupt
        CountedNetwork.seen += len(images)
        return super().forward(images)


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(CountedNetwork, "seen", 0)
    torch.manual_seed(0)
    return CountedNetwork()


@pytest.mark.parametrize("out", ["x.npz", "x.parquet"])
def test_what_was_interrupted_goes_on_after_its_finished_parts(gray, counted, tmp_path, monkeypatch, out):
    if out == "x.parquet":
        pytest.importorskip("pyarrow")
    options = {"batch_size": 2, "part_size": 4, "device": "cpu"}
    extract(gray, tmp_path / f"whole-{out}", counted, **options)
    monkeypatch.setattr(CountedNetwork, "seen", 0)
    monkeypatch.setattr(CountedNetwork, "interrupted_at", 6)
    with pytest.raises(KeyboardInterrupt):
        extract(gray, tmp_path / out, counted, **options)
    assert not (tmp_path / out).exists()
    monkeypatch.setattr(CountedNetwork, "interrupted_at", None)
    monkeypatch.setattr(CountedNetwork, "seen", 0)
    assert extract(gray, tmp_path / out, counted, **options) == (10, 2)
    assert CountedNetwork.seen == 6
    assert (tmp_path / out).read_bytes() == (tmp_path / f"whole-{out}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out, f"whole-{out}"])


def test_a_file_that_could_not_be_made_of_its_parts_is_made_without_new_ones(gray, counted, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError("no space left")

    with monkeypatch.context() as context:
        context.setattr(extraction, "write", full)
        with pytest.raises(OSError, match="no space"):
            extract(gray, tmp_path / "x.npz", counted, device="cpu")
    assert CountedNetwork.seen == 10
    assert extract(gray, tmp_path / "x.npz", counted, device="cpu") == (10, 2)
    assert CountedNetwork.seen == 10


def test_only_the_same_is_gone_on_with(gray, counted, tmp_path, monkeypatch):
    monkeypatch.setattr(CountedNetwork, "interrupted_at", 4)
    options = {"batch_size": 4, "part_size": 4, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        extract(gray, tmp_path / "x.npz", counted, **options)
    items = gray.items.copy()
    items[9, 0, 0] ^= 1
    others = Dataset("gray", items, gray.labels, gray.splits, gray.class_names)
    with pytest.raises(ValueError, match=r"dataset: '10 of gray, .*' there, '10 of gray"):
        extract(others, tmp_path / "x.npz", counted, **options)
    with torch.no_grad():
        counted.end[1].bias += 1
    with pytest.raises(ValueError, match=r"weights: '.*' there, '.*' now"):
        extract(gray, tmp_path / "x.npz", counted, **options)
    with pytest.raises(ValueError, match="dtype: 'float32' there, 'float16' now.*layer: None there, 'body' now"):
        extract(gray, tmp_path / "x.npz", counted, layer="body", dtype="float16", **options)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"out": 3}, TypeError, "extract: expected out to be a string or a path, got int"),
        ({"out": "x.npy"}, ValueError, r"extract: expected out in \.npz, \.parquet, got \.npy"),
        ({"dtype": "float64"}, ValueError, "extract: expected dtype to be one of 'float32', 'float16', got 'float64'"),
        ({"batch_size": 0}, ValueError, "extract: expected batch_size at least 1, got 0"),
        ({"seed": -1}, ValueError, "extract: expected seed at least 0, got -1"),
        ({"per_class": 0}, ValueError, "extract: expected per_class at least 1, got 0"),
        ({"part_size": 0}, ValueError, "extract: expected part_size at least 1, got 0"),
        ({"workers": -1}, ValueError, "extract: expected workers at least 0, got -1"),
        ({"progress": 1}, TypeError, "extract: expected progress to be True or False, got 1"),
        ({"device": "nowhere"}, ValueError, "extract: expected device to be a device of this machine, got 'nowhere'"),
        ({"dataset": "no/such"}, FileNotFoundError, "load_dataset: found no data set 'no/such'"),
        ({"layer": "none"}, ValueError, "extract: expected layer to be a module of Small"),
    ],
)
def test_errors_before_any_work(gray, tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        extract(**{"dataset": gray, "out": "x.npz", "network": Small(), "device": "cpu"} | arguments)
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_images_or_is_there_already(gray, network, tmp_path):
    features = Dataset("f", np.zeros((3, 5), np.float32), np.zeros(3, np.int64), {}, ("a",))
    with pytest.raises(ValueError, match="extract: expected images, but f has features of width 5"):
        extract(features, tmp_path / "x.npz", network)
    empty = Dataset("e", np.zeros((0, 4, 4), np.uint8), np.zeros(0, np.int64), {}, ("a",))
    with pytest.raises(ValueError, match="extract: expected images, but e has none"):
        extract(empty, tmp_path / "x.npz", network)
    (tmp_path / "x.npz").write_text("mine")
    with pytest.raises(FileExistsError, match="extract: expected out to be a new file, got .*x.npz, which is there"):
        extract(gray, tmp_path / "x.npz", network)
    assert (tmp_path / "x.npz").read_text() == "mine"


def test_features_and_transforms_that_are_no_good(gray, network, tmp_path, monkeypatch):
    with torch.no_grad():
        network.end[1].bias[1] = 1e6
    with pytest.raises(ValueError, match="finite features in float16, got others of item 0; float32 holds larger ones"):
        extract(gray, tmp_path / "x.npz", network, dtype="float16", device="cpu")
    assert list(tmp_path.iterdir()) == []
    network.transform = of_several_sizes
    with pytest.raises(ValueError, match=r"extract: expected transform .* tensors of one shape, got \[3, 1, 4\], \[3"):
        extract(gray, tmp_path / "x.npz", network, device="cpu")
    assert list(tmp_path.iterdir()) == []
    assert extract(gray, tmp_path / "x.npz", Small(), layer="body", device="cpu") == (10, 5)


@pytest.mark.filterwarnings("ignore:train. the codes have collapsed")  # after few steps
def test_recipes_learn_from_the_features_of_images(tmp_path):
    torch.manual_seed(0)
    digits = load_dataset("digits")
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 40))
    network.transform = to_unit
    for name, part in (("source", slice(0, 900)), ("target", slice(900, None))):
        half = Dataset("digits", digits.items[part], digits.labels[part], {}, digits.class_names)
        extract(half, tmp_path / f"{name}.npz", network, device="cpu")
    domains = {name: str(tmp_path / f"{name}.npz") for name in ("source", "target")}
    settings = IGANSettings(**domains, epochs=1, source_epochs=1, batch_size=50, bits=8)
    assert 0 <= train(settings, device="cpu").results["accuracy"] <= 1
    settings = AutoencoderSettings(dataset=domains["source"], protocol="domains-v1", epochs=1, batch_size=50, bits=8)
    assert train(settings, device="cpu").results["mAP"] > 0.1


def of_several_sizes(image):
    return image[:, : 1 + int(image[0, 0, 0]) % 2].float()


def to_unit(image):
    return image.float() / 16


def test_the_command(gray, tmp_path, monkeypatch):
    np.savez(tmp_path / "gray.npz", images=gray.items, labels=gray.labels)
    (tmp_path / "their_network.py").write_text("from tests.features.conftest import Small\n")
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "x.npz"
    command = ["features", str(tmp_path / "gray.npz"), str(out), "--network", "their_network:Small", "--layer", "body"]
    result = CliRunner().invoke(main, [*command, "--device", "cpu", "--part-size", "3"])
    assert result.exit_code == 0, result.output
    assert f"written: {out}, 10 items of 5 features" in result.output
    again = CliRunner().invoke(main, command)
    assert again.exit_code == 1
    assert "expected OUT to be a new file" in again.output


@pytest.mark.slow
def test_features_of_digits_by_a_network_of_torchvision(tmp_path):
    pytest.importorskip("torchvision")
    digits = load_dataset("digits")
    few = Dataset("digits", digits.items[:300], digits.labels[:300], {}, digits.class_names)
    n, d = extract(few, tmp_path / "x.npz", "resnet18", weights="random", part_size=100, device="cpu", batch_size=25)
    assert (n, d) == (300, 512)
    items = load_dataset(tmp_path / "x.npz").items
    nearest = ((items[:, None] - items) ** 2).sum(2) + 1e9 * np.eye(300)
    assert (few.labels[nearest.argmin(1)] == few.labels).mean() > 0.5  # 0.1 by chance
