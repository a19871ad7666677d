"""The folder of a training."""

from __future__ import annotations

import pytest

from fasthash.recipes.run_folder import write_csv


def test_a_table_that_fails_halfway_leaves_the_old_one(tmp_path):
    write_csv(tmp_path / "a.csv", [{"x": 1}])

    class Unprintable:
        def __str__(self):
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        write_csv(tmp_path / "a.csv", [{"x": 2}, {"x": Unprintable()}])
    assert (tmp_path / "a.csv").read_text().split() == ["x", "1"]
    assert len(list(tmp_path.iterdir())) == 1
