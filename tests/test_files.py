"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import fasthash as fh
from fasthash.files import replacing
from fasthash.hashers import LSH
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.run_folder import RunFolder, write_csv, write_json

ROOT = Path(__file__).parent.parent


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def write(path, content="new"):
    with replacing(path) as file:
        file.write_text(content)


def save_hasher(path):
    LSH(8, random_state=1).fit([[0.5, 1.0]]).save(path)


def save_network(path):
    HashingNetwork("linear", [2], 8).save(path)


def save_index(path):
    fh.FlatIndex(8).save(path)


def save_checkpoint(path):
    RunFolder(path.parent / "run", {}, resume=True).keep({"rows": []}, [])
    os.replace(path.parent / "run" / "checkpoint.pt", path)


WRITERS = {
    "text": write,
    "hasher": save_hasher,
    "network": save_network,
    "index": save_index,
    "json": lambda path: write_json(path, {}),
    "csv": lambda path: write_csv(path, [{"x": 1}]),
}


@pytest.mark.parametrize("writer", [*WRITERS.values(), save_checkpoint], ids=[*WRITERS, "checkpoint"])
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path, writer, umask):
    before = os.umask(umask)
    try:
        writer(tmp_path / "a")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == 0o666 & ~umask


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("kept", [0o640, 0o664, 0o600, 0o755, 0o400])
def test_a_replaced_file_keeps_its_mode(tmp_path, writer, kept):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(kept)
    writer(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() != b"old"
    assert mode(tmp_path / "a") == kept


def test_while_it_is_written_a_file_is_open_to_no_more_users_than_the_old_one(tmp_path):
    (tmp_path / "a").write_text("old")
    for kept in (0o600, 0o640, 0o400):
        (tmp_path / "a").chmod(kept)
        with replacing(tmp_path / "a") as file:
            assert mode(file) & ~(kept | 0o600) == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to be root")
def test_a_replaced_file_keeps_its_owner_and_group(tmp_path):
    (tmp_path / "a").write_text("old")
    os.chown(tmp_path / "a", 1234, 2345)
    write(tmp_path / "a")
    status = (tmp_path / "a").stat()
    assert (status.st_uid, status.st_gid) == (1234, 2345)


@pytest.mark.parametrize(("permitted", "left"), [([], 0o644), ([-1], 0o664)])
def test_where_the_owner_cannot_be_kept_the_group_is_and_where_it_cannot_gains_nothing(
    tmp_path, monkeypatch, permitted, left
):
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o664)

    def chown(path, uid, gid):
        if uid not in permitted:
            raise PermissionError

    monkeypatch.setattr(os, "chown", chown)
    write(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "new"
    assert mode(tmp_path / "a") == left


@pytest.mark.parametrize("there", [True, False])
def test_what_a_symbolic_link_leads_to_is_replaced(tmp_path, there):
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "a"
    if there:
        target.write_text("old")
        target.chmod(0o640)
    (tmp_path / "first").symlink_to("far/a")
    (tmp_path / "link").symlink_to("first")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "first").is_symlink()
    assert target.read_text() == "new"
    assert not there or mode(target) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["far", "first", "link"]
    assert os.listdir(tmp_path / "far") == ["a"]


def test_the_umask_is_not_touched(tmp_path, monkeypatch):
    """It is the process's, and other threads make files meanwhile."""
    monkeypatch.setattr(os, "umask", None)
    write(tmp_path / "a")
    write(tmp_path / "a")


def test_several_threads_replace_a_file(tmp_path):
    threads = [threading.Thread(target=write, args=(tmp_path / "a", str(i) * 1000)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = (tmp_path / "a").read_text()
    assert content == content[0] * 1000
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "x" + "𝄞" * 63, "n" * 237, "é" * 119], ids=len)
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_name_may_be_as_long_as_the_system_has_them(tmp_path, writer, name):
    for _ in ("a new file", "a replaced one"):
        writer(tmp_path / name)
        assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(("name", "kept"), [("a.index", "a.index"), ("é" * 127, "é" * 118), ("n" * 238, "n" * 237)])
def test_the_name_of_what_is_not_finished_tells_whose_it_is(tmp_path, name, kept):
    with replacing(tmp_path / name) as file:
        assert re.fullmatch(rf"\.{kept}\.[0-9a-f]{{16}}", file.name)


KILLED = """
import os, signal, sys
from fasthash.files import replacing

with replacing(sys.argv[1]) as file:
    file.write_text("half")
    if sys.argv[2] == "waits":
        print("begun", flush=True)
        sys.stdin.read()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ["a.npy", "n" * 250])
def test_what_a_killed_process_left_is_deleted_by_the_next_that_writes_the_same_file(tmp_path, name):
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", KILLED, tmp_path / name, ""], cwd=ROOT).returncode < 0
    assert len(os.listdir(tmp_path)) == 1  # the second deleted what the first had left
    write(tmp_path / "b")
    assert len(os.listdir(tmp_path)) == 2
    write(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == sorted(["b", name])


def test_what_another_process_is_writing_stays(tmp_path):
    command = [sys.executable, "-c", KILLED, tmp_path / "a", "waits"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "begun\n"
        write(tmp_path / "a")
        assert len(os.listdir(tmp_path)) == 2
        other.communicate("")
    assert other.returncode == 0
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "half"


def test_what_this_process_is_writing_stays(tmp_path):
    with replacing(tmp_path / "a") as first:
        write(tmp_path / "a")
        first.write_text("last")
    assert (tmp_path / "a").read_text() == "last"
    assert os.listdir(tmp_path) == ["a"]


def test_files_of_other_names_are_left(tmp_path):
    others = [
        ".b.0123456789abcdef",
        ".a.0123456789abcdeg",
        ".a.0123456789abcdef0",
        "a.0123456789abcdef",
        ".ab.01234567",
    ]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".a.0000000000000000").symlink_to("a")
    (tmp_path / ".a.1111111111111111").mkdir()
    os.mkfifo(tmp_path / ".a.2222222222222222")
    before = set(os.listdir(tmp_path))
    write(tmp_path / "a")
    assert set(os.listdir(tmp_path)) == before | {"a"}


def test_where_files_cannot_be_locked_none_is_deleted(tmp_path, monkeypatch):
    def refused(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    (tmp_path / ".a.0123456789abcdef").touch()
    monkeypatch.setattr("fcntl.flock", refused)
    write(tmp_path / "a")
    assert sorted(os.listdir(tmp_path)) == [".a.0123456789abcdef", "a"]


def loop(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path / "loop"


def fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (lambda tmp_path: tmp_path, IsADirectoryError),
        (lambda tmp_path: tmp_path / "nowhere" / "a", FileNotFoundError),
        (loop, OSError),
        (fifo, OSError),
        (lambda tmp_path: tmp_path / ("n" * 256), OSError),
    ],
    ids=["folder", "nowhere", "loop", "fifo", "long name"],
)
def test_what_cannot_be_replaced_is_named_as_it_was_given_and_left(tmp_path, place, kind, monkeypatch):
    path = place(tmp_path)
    before = sorted(os.listdir(tmp_path))
    monkeypatch.chdir(tmp_path.parent)
    given = path.relative_to(tmp_path.parent)
    with pytest.raises(kind) as raised:
        write(given)
    assert raised.value.filename == str(given)
    assert sorted(os.listdir(tmp_path)) == before


def test_a_device_is_not_replaced_by_a_file():
    with pytest.raises(OSError, match="Not a file that can be replaced: '/dev/full'"):
        write("/dev/full")


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_an_error_of_the_system_names_the_path_that_was_given(tmp_path, writer, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path / 'a'}'") as raised:
        writer(tmp_path / "a")
    assert raised.value.errno == errno.ENOSPC
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_an_error_of_another_file_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, replacing(tmp_path / "a"):
        (tmp_path / "other").read_text()
    assert raised.value.filename == str(tmp_path / "other")
    with pytest.raises(OSError, match="^no number$"), replacing(tmp_path / "a"):
        raise OSError("no number")
    assert os.listdir(tmp_path) == []


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path.append(sys.argv[3])
from tests import test_files

writer = vars(test_files)[sys.argv[1]]
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    writer(Path(sys.argv[2]))
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
@pytest.mark.parametrize("writer", ["save_hasher", "save_network", "save_index"])
def test_a_file_that_grows_too_large_is_told_of_by_its_name(tmp_path, writer):
    (tmp_path / "a").write_text("old")
    output = subprocess.check_output([sys.executable, "-c", LIMITED, writer, tmp_path / "a", ROOT], text=True)
    assert output == f"[Errno {errno.EFBIG}] File too large: '{tmp_path / 'a'}'\n"
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]
