from __future__ import annotations

import csv
import itertools
import json
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

import fasthash as fh
from fasthash.cli import main
from fasthash.cli.duplicates import TABLES
from fasthash.cli.pictures import pairs_of_pictures
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
    assert "expected --parts of the same search in" in result.output


SMALL_PARTS = """
from functools import partial
from fasthash.cli import main
from fasthash.ops import pairs
pairs.iter_hamming_pairs = partial(pairs.iter_hamming_pairs, part_pairs=300)
main()
"""


def test_a_run_in_parts_that_is_killed_goes_on(tmp_path):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (300, 8), dtype=np.uint8)[rng.integers(0, 300, 6000)]
    codes ^= np.packbits(rng.random((6000, 64)) < 0.03, axis=1)
    np.save(tmp_path / "hashes.npy", codes)
    folder = tmp_path / "parts"
    arguments = ["duplicates", str(tmp_path / "hashes.npy"), "--radius", "8", "--parts", str(folder), "--threads", "1"]
    process = subprocess.Popen([sys.executable, "-c", SMALL_PARTS, *arguments], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while len(list(folder.glob("*.npz"))) < 5 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    kept = sorted(folder.glob("*.npz"))
    ran(*arguments[1:])
    rows = [row for file in sorted(folder.glob("*.npz")) for row in written_pairs(file)]
    assert rows == list(zip(*(x.tolist() for x in fh.hamming_pairs(codes, 8)), strict=True))
    assert set(kept) < set(folder.glob("*.npz"))


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
        (("--radius", 3, "--out", "-"), "expected a file in .csv, .jsonl, .npz, .parquet, got -"),
        (
            ("--radius", 3, "--groups", tmp_path / "groups.npz"),
            "expected a file in .csv, .jsonl, or - for the standard output, got",
        ),
        (("--radius", 3, "--crops"), "expected a folder of pictures for --crops, got"),
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
CUTS = {
    "all round": (0.07, 0.07, 0.93, 0.93),
    "left": (0.1, 0, 1, 1),
    "corner": (0.08, 0.09, 1, 1),
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


def origin(name):
    return "-".join(name.removesuffix(".png").split("/")[-1].split("-")[:3])


def precision_and_recall(groups, n_copies):
    """Of pairs of the 24 parts of photographs and their copies."""
    together = [origin(a) == origin(b) for group in groups for a, b in itertools.combinations(group, 2)]
    return np.mean(together), sum(together) / (24 * n_copies * (n_copies - 1) / 2)


def test_pictures_of_16_bits_of_gray_are_hashed_as_their_8(tmp_path):
    pytest.importorskip("imagehash")
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        grays = rng.integers(1, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(grays).save(tmp_path / f"{name}.png")
        Image.fromarray(grays * np.uint16(257)).save(tmp_path / f"{name}16.png")
    Image.fromarray(rng.random((32, 32), np.float32)).save(tmp_path / "c.tif")
    result = ran(tmp_path, "--radius", 0)
    assert f"left out: {tmp_path / 'c.tif'}, which cannot be read: expected an image of 8 or 16 bits" in result.stderr
    groups = [json.loads(line)["members"] for line in result.stdout.splitlines()]
    assert sorted(map(sorted, groups)) == [["a.png", "a16.png"], ["b.png", "b16.png"]]


def test_copies_of_pictures_are_found(pictures, tmp_path):
    from PIL import Image

    (pictures / "broken.jpg").write_bytes(b"no picture")
    before = sorted(path.name for path in pictures.rglob("*"))
    result = ran(pictures, "--radius", 8, "--grid", tmp_path / "grid.png", "--groups", tmp_path / "groups.jsonl")
    assert f"left out: {pictures / 'broken.jpg'}, which cannot be read" in result.stderr
    assert sorted(path.name for path in pictures.rglob("*")) == before
    groups = [json.loads(line)["members"] for line in (tmp_path / "groups.jsonl").read_text().splitlines()]
    precision, recall = precision_and_recall(groups, 1 + len(EDITS))
    assert precision > 0.95
    assert recall > 0.9
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.height > 100 * len(groups)


def test_pictures_are_compared_with_parts_of_others(pictures, tmp_path):
    from PIL import Image

    for path in pictures.glob("*.png"):
        with Image.open(path) as image:
            for name, (left, top, right, bottom) in CUTS.items():
                box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
                part = image.crop(tuple(map(round, box)))
                part.save(pictures / "copies" / f"{path.stem}-{name}.jpg", quality=70)
    n_copies = 1 + len(EDITS) + len(CUTS)
    found = {}
    for crops in ((), ("--crops",)):
        for linkage in ("single", "complete"):
            lines = ran(pictures, "--radius", 8, "--linkage", linkage, *crops).stdout.splitlines()
            groups = [json.loads(line)["members"] for line in lines]
            found[crops, linkage] = precision_and_recall(groups, n_copies)
    assert min(precision for precision, _ in found.values()) > 0.95
    assert found[("--crops",), "single"][1] > 0.94 > 0.8 > found[(), "single"][1]
    assert found[("--crops",), "complete"][1] > found[(), "complete"][1]
    ran(pictures, "--radius", 8, "--crops", "--out", tmp_path / "pairs.csv", "--groups", tmp_path / "groups.csv")
    rows = written_pairs(tmp_path / "pairs.csv")
    assert rows == sorted(set(rows))
    assert all(i < j and distance <= 8 for i, j, distance in rows)
    i, j, distances = (np.array(column) for column in zip(*rows, strict=True))
    graph = coo_array((distances + 1, (i, j)), shape=(24 * n_copies, 24 * n_copies))
    labels = connected_components(graph, directed=False)[1]
    with (tmp_path / "groups.csv").open() as file:
        members = list(csv.DictReader(file))
    assert len({row["group"] for row in members}) == (np.bincount(labels) > 1).sum()
    result = run(pictures, "--radius", 8, "--crops", "--parts", tmp_path / "parts")
    assert result.exit_code == 2
    assert "expected --crops or --parts, got both" in result.output


def test_parts_of_pictures_pair_as_all_comparisons_do():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (60, 2), dtype=np.uint8)
    parts = rng.integers(0, 4, (60, 3, 2), dtype=np.uint8)
    found = pairs_of_pictures(codes, parts, 1, None)
    first = [next(j for j in range(60) if (codes[j] == codes[i]).all()) for i in range(60)]
    expected = []
    for i, j in itertools.combinations(range(60), 2):
        if first[j] == i:
            expected.append((i, j, 0))
        elif (first[i], first[j]) == (i, j):
            apart = [np.bitwise_count(codes[i] ^ codes[j]).sum()]
            apart += [max(1, np.bitwise_count(codes[a] ^ part).sum()) for a, b in ((i, j), (j, i)) for part in parts[b]]
            if min(apart) <= 1:
                expected.append((i, j, min(apart)))
    assert list(zip(*(x.tolist() for x in found), strict=True)) == expected
    assert len(expected) > 60


def test_small_pictures_have_parts(tmp_path):
    pytest.importorskip("imagehash")
    from PIL import Image

    for i, size in enumerate(((1, 1), (1, 30), (2, 3))):
        Image.new("RGB", size, (40 * i, 0, 0)).save(tmp_path / f"{i}.png")
    result = ran(tmp_path, "--radius", 64, "--crops")
    assert "left out" not in result.stderr
    assert len(json.loads(result.stdout)["members"]) == 3


def test_a_folder_without_pictures_is_refused(tmp_path):
    pytest.importorskip("imagehash")
    result = run(tmp_path, "--radius", 3)
    assert result.exit_code == 1
    assert f"in {tmp_path}, got none that can be read" in result.output
    assert "power of two for whash, got 9" in run(tmp_path, "--radius", 3, "--hash", "whash", "--hash-size", 9).output
