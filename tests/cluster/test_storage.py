"""Places on storages: paths, URIs, patterns; files that are written whole or not at all."""

from __future__ import annotations

import sys

import pytest

from fasthash.cluster.storage import list_files, local_path, make_folder, place_of


def names(place, *endings):
    return [file.name for file in list_files("test", place, *(endings or (".x",)))]


@pytest.fixture
def folder(tmp_path):
    for name in ("a/1.x", "a/2.x", "b/1.x", "b/[3].x", "c.x", "d.y"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


@pytest.mark.parametrize("has_pyarrow", [True, False])
def test_folders_patterns_and_files_are_listed_by_path(folder, has_pyarrow, monkeypatch):
    if not has_pyarrow:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert names(place_of("test", "source", folder)) == ["c.x"]
    assert names(place_of("test", "source", folder), ".x", ".y") == ["c.x", "d.y"]
    assert names(place_of("test", "source", folder / "d.y"), ".y") == ["d.y"]
    assert names(place_of("test", "source", folder / "*" / "1.x")) == ["1.x", "1.x"]
    assert names(place_of("test", "source", f"file://{folder}/a/*.x")) == ["1.x", "2.x"]
    assert names(place_of("test", "source", folder / "?" / "[12].x")) == ["1.x", "2.x", "1.x"]
    assert names(place_of("test", "source", folder / "*.x")) == ["c.x"]  # * stays within a folder
    assert names(place_of("test", "source", folder / "b" / "[3].x")) == ["[3].x"]  # as there is one
    for missing in ("no", "no/*.x", "*.z"):
        with pytest.raises(FileNotFoundError, match="test: expected files in .x at .*, got none"):
            names(place_of("test", "source", folder / missing))


def test_this_machine_s_files_are_the_same_by_path_uri_and_filesystem(folder):
    fs = pytest.importorskip("pyarrow.fs")
    every = [place_of("test", "source", name) for name in (folder, f"{folder}/", f"file://{folder}")]
    every.append(place_of("test", "source", folder, fs.LocalFileSystem()))
    assert every == [(None, str(folder))] * 4


def test_places_of_other_machines_are_listed_alike(folder):
    pytest.importorskip("pyarrow")
    filesystem = pytest.importorskip("fsspec").filesystem("memory")
    for path in folder.rglob("*.x"):
        filesystem.pipe(str(path), path.read_bytes())
    for pattern in ("", "c.x", "*/1.x", "?/[12].x", "*.x", "b/[3].x"):
        here, there = (list_files("test", place_of("test", "source", f"{scheme}://{folder}/{pattern}"), ".x")
                       for scheme in ("file", "memory"))  # fmt: skip
        assert [(file.place.path, file.size) for file in here] == [(file.place.path, file.size) for file in there]
        assert here[0].place.read() == there[0].place.read()
        assert here[0].modified == (folder / here[0].place.path).stat().st_mtime_ns
    filesystem.rm(str(folder), recursive=True)


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_file_is_replaced_when_it_is_whole(tmp_path, scheme):
    if scheme == "memory":
        pytest.importorskip("fsspec")
        pytest.importorskip("pyarrow")
    place = place_of("test", "folder", f"{scheme}://{tmp_path}/out")
    make_folder(place)
    file = place.under("a")
    with pytest.raises(FileNotFoundError):
        file.read()
    with file.replacing() as stream:
        stream.write(b"old")

    def fail():
        with file.replacing() as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert file.read() == b"old"
    with file.replacing() as stream:
        stream.write(b"new")
    assert file.read() == b"new"


def test_wrong_places_are_refused(tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.raises(TypeError, match="test: expected folder to be a path or a URI, got int"):
        place_of("test", "folder", 3)
    with pytest.raises(TypeError, match="test: expected filesystem to be one of pyarrow or fsspec, got str"):
        place_of("test", "folder", "x", "local")
    with pytest.raises(ValueError, match="test: expected folder on a storage that is known, got no://x"):
        place_of("test", "folder", "no://x")
    with pytest.raises(ValueError, match="test: expected folder to be a folder of a file system that is mounted"):
        local_path("test", "folder", "s3://bucket")
    with pytest.raises(TypeError, match="test: expected folder to be a path, got int"):
        local_path("test", "folder", 3)
