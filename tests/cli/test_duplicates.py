from __future__ import annotations

import csv
import itertools
import json
import sys
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner

import fasthash as fh
from fasthash.cli import main
from fasthash.cli.duplicates import TABLES
from fasthash.ops import pairs


def run(*arguments):
    return CliRunner().invoke(main, ["duplicates", *map(str, arguments)])


def ran(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (40, 8), dtype=np.uint8)
    return centres[rng.integers(0, 40, 300)] ^ np.packbits(rng.random((300, 64)) < 0.03, axis=1)


def written_pairs(path):
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return list(zip(*(arrays[name].tolist() for name in ("i", "j", "distances")), strict=True))
    if path.suffix == ".csv":
        with path.open() as file:
            return [tuple(map(int, row.values())) for row in csv.DictReader(file)]
    if path.suffix == ".jsonl":
        return [tuple(json.loads(line).values()) for line in path.read_text().splitlines()]
    rows = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize("extension", TABLES)
@pytest.mark.parametrize("radius", [0, 6])
def test_pairs_are_written_in_the_format_of_the_extension(tmp_path, codes, extension, radius):
    np.save(tmp_path / "hashes.npy", codes)
    out = tmp_path / f"pairs{extension}"
    output = ran(tmp_path / "hashes.npy", "--radius", radius, "--out", out).output
    expected = fh.hamming_pairs(codes, radius)
    assert written_pairs(out) == list(zip(*(x.tolist() for x in expected), strict=True))
    assert output == f"written: {out}, {len(expected.i)} pairs of 300 codes\n"


@pytest.mark.parametrize("extension", TABLES)
def test_no_pairs_are_written_too(tmp_path, extension):
    np.save(tmp_path / "hashes.npy", np.empty((0, 8), np.uint8))
    ran(tmp_path / "hashes.npy", "--radius", 3, "--out", tmp_path / f"pairs{extension}")
    assert written_pairs(tmp_path / f"pairs{extension}") == []


def test_a_run_in_parts_that_was_ended_goes_on(tmp_path, codes, monkeypatch):
    np.save(tmp_path / "hashes.npy", codes)
    whole = fh.hamming_pairs(codes, 8)
    short = partial(pairs.iter_hamming_pairs, part_pairs=len(whole.i) // 5)
    monkeypatch.setattr(pairs, "iter_hamming_pairs", short)

    def ended(*arguments, **options):
        yield from itertools.islice(short(*arguments, **options), 2)
        raise KeyboardInterrupt

    arguments = tmp_path / "hashes.npy", "--radius", 8, "--parts", tmp_path / "parts"
    with monkeypatch.context() as patch:
        patch.setattr(pairs, "iter_hamming_pairs", ended)
        assert run(*arguments).exit_code == 1
    kept = sorted((tmp_path / "parts").glob("*.npz"))
    assert len(kept) == 2
    ran(*arguments)
    files = sorted((tmp_path / "parts").glob("*.npz"))
    assert files[:2] == kept
    assert len(files) > 4
    rows = [row for file in files for row in written_pairs(file)]
    assert rows == list(zip(*(x.tolist() for x in whole), strict=True))
    assert ran(*arguments).output == ""  # nothing is left to do
    result = run(tmp_path / "hashes.npy", "--radius", 9, "--parts", tmp_path / "parts")
    assert result.exit_code == 1
    assert "expected parts of the same search in" in result.output


def test_groups_are_lines_or_a_table(tmp_path, codes):
    np.save(tmp_path / "hashes.npy", codes)
    options = ("--radius", 6, "--linkage", "complete", "--representative", "central")
    lines = [json.loads(line) for line in ran(tmp_path / "hashes.npy", *options).stdout.splitlines()]
    found = fh.duplicate_groups(codes, 6, linkage="complete", representative="central")
    assert [line["representative"] for line in lines] == found.representatives.tolist()
    assert [i for line in lines for i in line["members"]] == found.members.tolist()
    assert [len(line["members"]) for line in lines] == np.diff(found.offsets).tolist()
    for name in ("groups.jsonl", "groups.csv"):
        ran(tmp_path / "hashes.npy", *options, "--groups", tmp_path / name)
    assert [json.loads(line) for line in (tmp_path / "groups.jsonl").read_text().splitlines()] == lines
    with (tmp_path / "groups.csv").open() as file:
        rows = [tuple(map(int, row.values())) for row in csv.DictReader(file)]
    assert rows == [(g, i, int(i == x["representative"])) for g, x in enumerate(lines) for i in x["members"]]
    both = ran(tmp_path / "hashes.npy", *options, "--out", tmp_path / "pairs.csv", "--groups", "-")
    assert [json.loads(line) for line in both.stdout.splitlines()] == lines


def test_numbers_are_hashes_too(tmp_path, codes):
    np.save(tmp_path / "hashes.npy", codes)
    np.save(tmp_path / "numbers.npy", codes.view(np.uint64)[:, 0])
    expected = ran(tmp_path / "hashes.npy", "--radius", 6).stdout
    assert ran(tmp_path / "numbers.npy", "--radius", 6).stdout == expected != ""


def test_what_does_not_fit_is_told_before_any_work(tmp_path, codes, monkeypatch):
    hashes = tmp_path / "hashes.npy"
    np.save(hashes, codes)
    for options, message in (
        (("--radius", 3, "--out", tmp_path / "pairs.txt"), "expected a file in .csv, .jsonl, .npz, .parquet, got"),
        (("--radius", 3, "--groups", tmp_path / "groups.npz"), "expected a file in .csv, .jsonl, got"),
        (("--radius", 3, "--out", tmp_path / "none" / "pairs.csv"), "expected a file in a folder that exists"),
        (("--radius", 3, "--grid", tmp_path / "grid.png"), "expected a folder of pictures for --grid, got"),
        (("--radius", -1), "-1 is not in the range"),
        ((), "Missing option '--radius'"),
    ):
        result = run(hashes, *options)
        assert result.exit_code == 2
        assert message in result.output
    assert "does not exist" in run(tmp_path / "nothing.npy", "--radius", 3).output
    monkeypatch.setitem(sys.modules, "imagehash", None)
    result = run(tmp_path, "--radius", 3)
    assert result.exit_code == 1
    assert "hashing pictures needs imagehash" in result.output
    assert "pip install 'torch-fasthash[imagehash]'" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["hashes.npy"]


EDITS = {
    "recoded": lambda image: image,
    "brighter": lambda image: image.point(lambda value: min(255, int(value * 1.15 + 5))),
    "darker": lambda image: image.point(lambda value: int(value * 0.85)),
    "smaller": lambda image: image.resize((image.width * 2 // 3, image.height * 2 // 3)),
    "cropped": lambda image: image.crop((1, 1, image.width - 1, image.height - 1)),
}


@pytest.fixture
def pictures(tmp_path):
    """Parts of two photographs, and what was made of each."""
    pytest.importorskip("imagehash")
    from PIL import Image
    from sklearn.datasets import load_sample_images

    folder = tmp_path / "pictures"
    (folder / "copies").mkdir(parents=True)
    for n, photograph in enumerate(load_sample_images().images):
        for y, x in itertools.product(range(0, 420, 140), range(0, 640, 160)):
            image = Image.fromarray(photograph[y : y + 140, x : x + 160])
            image.save(folder / f"{n}-{y}-{x}.png")
            for name, edit in EDITS.items():
                edit(image).save(folder / "copies" / f"{n}-{y}-{x}-{name}.jpg", quality=70)
    return folder


def test_copies_of_pictures_are_found(pictures, tmp_path):
    from PIL import Image

    (pictures / "broken.jpg").write_bytes(b"no picture")
    before = sorted(path.name for path in pictures.rglob("*"))
    result = ran(pictures, "--radius", 8, "--grid", tmp_path / "grid.png", "--groups", tmp_path / "groups.jsonl")
    assert f"left out: {pictures / 'broken.jpg'}, which cannot be read" in result.stderr
    assert sorted(path.name for path in pictures.rglob("*")) == before
    groups = [json.loads(line)["members"] for line in (tmp_path / "groups.jsonl").read_text().splitlines()]

    def origin(name):
        return "-".join(name.removesuffix(".png").split("/")[-1].split("-")[:3])

    n_copies = 1 + len(EDITS)
    together = [origin(a) == origin(b) for group in groups for a, b in itertools.combinations(group, 2)]
    assert np.mean(together) > 0.95  # the precision of pairs
    assert sum(together) / (24 * n_copies * (n_copies - 1) / 2) > 0.9  # the recall
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.height > 100 * len(groups)


def test_a_folder_without_pictures_is_refused(tmp_path):
    pytest.importorskip("imagehash")
    result = run(tmp_path, "--radius", 3)
    assert result.exit_code == 1
    assert f"in {tmp_path}, got none that can be read" in result.output
    assert "power of two for whash, got 9" in run(tmp_path, "--radius", 3, "--hash", "whash", "--hash-size", 9).output
