"""The folder of a training."""

from __future__ import annotations

import pytest
import torch

from fasthash.recipes.run_folder import RunFolder, write_csv
from tests.conftest import damaged

NAMES = ("network", "optimizer", "rows")


@pytest.fixture
def state():
    network = torch.nn.Linear(40, 30)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(2, 40)).sum().backward()
    optimizer.step()
    return {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "rows": [{"epoch": 1, "loss": 0.5}]}


@pytest.fixture
def folder(tmp_path, state):
    folder = RunFolder(tmp_path / "run", {"seed": 0}, resume=False)
    folder.keep(state, state["rows"])
    return folder


def test_a_damaged_checkpoint_is_refused(folder, state):
    path = folder.path / "checkpoint.pt"
    whole = path.read_bytes()
    for found in (folder.checkpoint(NAMES), torch.load(path, weights_only=True)):
        torch.testing.assert_close(found, state, rtol=0, atol=0)
    zeroed = (whole[:start] + bytes(2000) + whole[start + 2000 :] for start in range(0, len(whole) - 2000, 500))
    for content in (*damaged(whole, 400), *zeroed):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"^train: expected a checkpoint at {path}, got one that is cut off or da"):
            folder.checkpoint(NAMES)


def test_a_checkpoint_without_a_seal_is_read_if_its_checksums_are_right(folder, state):
    path = folder.path / "checkpoint.pt"
    torch.save(state, path)
    torch.testing.assert_close(folder.checkpoint(NAMES), state, rtol=0, atol=0)
    weight = state["network"]["weight"].numpy().tobytes()
    path.write_bytes(path.read_bytes().replace(weight, weight[:-2000] + bytes(2000)))
    with pytest.raises(ValueError, match="at .*checkpoint.pt, got one .*/data/. does not match its checksum"):
        folder.checkpoint(NAMES)


@pytest.mark.parametrize("content", [[1], {}, {"network": 1, "rows": []}, {"network": 1, "optimizer": 1, "rows": 1}])
def test_a_checkpoint_of_something_else_is_refused(folder, content):
    torch.save(content, folder.path / "checkpoint.pt")
    with pytest.raises(ValueError, match="at .*checkpoint.pt, got one of something else than network, optimizer, rows"):
        folder.checkpoint(NAMES)


def test_a_table_that_fails_halfway_leaves_the_old_one(tmp_path):
    write_csv(tmp_path / "a.csv", [{"x": 1}])

    class Unprintable:
        def __str__(self):
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        write_csv(tmp_path / "a.csv", [{"x": 2}, {"x": Unprintable()}])
    assert (tmp_path / "a.csv").read_text().split() == ["x", "1"]
    assert len(list(tmp_path.iterdir())) == 1
