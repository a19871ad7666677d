"""What goes wrong is told without a traceback, with the path that was given."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import click
import numpy as np
import pytest
from click.testing import CliRunner

import fasthash as fh
from fasthash.cli import main
from fasthash.cli.arguments import Command, Commands, _is_written, documented_parameters, options_of_parameters

TRAIN = "train supervised --dataset digits --protocol digits-v1 --network mlp --method dpsh --epochs 1 --device cpu"


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """A folder of small files, the one that commands run in."""
    monkeypatch.chdir(tmp_path)
    x = rng.standard_normal((300, 16)).astype(np.float32)
    np.save("x.npy", x)
    hasher = fh.hashers.LSH(64).fit(x)
    hasher.save("lsh.safetensors")
    codes = hasher.encode(x)
    np.save("codes.npy", codes)
    index = fh.FlatIndex(64)
    index.add(codes)
    index.save("codes.index")
    return tmp_path


def run(command):
    return CliRunner().invoke(main, command.split())


WRITING = {
    "fit": "fit itq x.npy new/a.safetensors --bits 8",
    "encode": "encode lsh.safetensors x.npy new/a.npy",
    "index": "index codes.npy new/a",
    "search": "search codes.index codes.npy new/a.npz",
    "train": f"{TRAIN} --out new/a",
    "demo": "demo --out new/a --bits 8",
}


@pytest.mark.parametrize("command", WRITING.values(), ids=WRITING)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_no_more_is_told_of_by_the_path_that_was_given(folder, monkeypatch, command, number):
    def full(descriptor):
        raise OSError(number, os.strerror(number))

    if "demo" in command:
        pytest.importorskip("matplotlib")
    (folder / "new").mkdir()
    monkeypatch.setattr(os, "fsync", full)
    result = run(command)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    error = result.output.splitlines()[-1]
    assert error.startswith(f"Error: [Errno {number}] {os.strerror(number)}: 'new/a")
    assert not [path for path in (folder / "new").rglob("*") if path.is_file()]


def test_a_device_is_no_file_to_write(folder):
    (folder / "null.safetensors").symlink_to("/dev/null")
    result = run("fit lsh x.npy null.safetensors")
    assert result.exit_code == 2
    assert "expected a file, got null.safetensors, which is none" in result.output


LIMITED = """
import resource, sys
import fasthash._core  # which an editable install may build
from fasthash.cli import main

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
main(sys.argv[1:])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
@pytest.mark.parametrize("name", ["fit", "encode", "index", "search", "train"])
def test_a_file_that_grows_too_large_is_told_of_by_its_name(folder, name):
    (folder / "new").mkdir()
    done = subprocess.run([sys.executable, "-c", LIMITED, *WRITING[name].split()], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"Error: [Errno {errno.EFBIG}] File too large: 'new/a")
    assert not [path for path in (folder / "new").rglob(".*") if path.is_file()]


@pytest.mark.parametrize("command", [WRITING[name] for name in ("fit", "encode", "index", "search")])
def test_where_nothing_can_be_written_is_told_of_before_any_work(folder, monkeypatch, command):
    monkeypatch.setattr(fh.hashers.ITQ, "fit", None)
    for made, message in ((False, "in a folder that exists"), (True, "in a folder that can be written to")):
        if made:
            (folder / "new").mkdir()
            monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        result = run(command)
        assert result.exit_code == 2
        assert f"expected a file {message}, got new/a" in result.output


def commands_of(group):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield from commands_of(command) if isinstance(command, click.Group) else [command]


def test_every_command_that_writes_a_file_sees_to_what_it_reads():
    writing = [each for each in commands_of(main) if any(_is_written(x.type) for x in each.params)]
    assert len(writing) > 7
    assert all(isinstance(each, Command) for each in writing)


@pytest.mark.parametrize(
    ("command", "written", "read"),
    [
        ("fit itq x.npy itq.safetensors", None, None),
        ("encode lsh.safetensors x.npy link.npy", "CODES", "ITEMS"),
        ("encode lsh.safetensors x.npy hard.npy", "CODES", "ITEMS"),
        ("index codes.npy --ids ids.csv:id ids.csv", "INDEX", "--ids"),
        ("index codes.npy codes.index", None, None),
        ("search codes.index codes.npz codes.npz", "HITS", "QUERIES"),
        ("search codes.index codes.npz:codes sub/../codes.npz", "HITS", "QUERIES"),
        ("search codes.index codes.npy scores.npz -k 2 --factors scores.npz:more", "HITS", "--factors"),
        ("search codes.index codes.npy -", None, None),
        ("cluster search shards codes.npz codes.npz", "HITS", "QUERIES"),
        ("evaluate codes.npy codes.npz:labels codes.npy codes.npz:labels", None, None),
        ("evaluate codes.npy ids.csv:id codes.npy ids.csv:id --curves ids.csv", "--curves", "QUERY_LABELS"),
        ("duplicates codes.npz --radius 2 --out codes.npz", "--out", "HASHES"),
        ("duplicates --out new.csv codes.npz --groups new.csv --radius 2", "--out", "--groups"),
        ("features codes.npz codes.npz --network vgg16", "OUT", "DATASET"),
        ("features codes.npz weights.npz --network vgg16 --weights weights.npz", "OUT", "--weights"),
    ],
)
def test_no_file_is_written_over_one_that_is_read(folder, command, written, read):
    codes = np.load("codes.npy")
    np.savez("codes.npz", codes)
    np.savez("scores.npz", codes)
    (folder / "ids.csv").write_text("id\n1\n")
    (folder / "sub").mkdir()
    (folder / "shards").mkdir()
    (folder / "link.npy").symlink_to("x.npy")
    os.link("x.npy", "hard.npy")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    result = run(command)
    refused = f"expected another file for {written} than for {read}, got"
    assert (refused in " ".join(result.output.split())) == (written is not None)
    if written is not None:
        assert result.exit_code == 2
        assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    else:
        assert "another file" not in result.output


@pytest.mark.parametrize(
    "command",
    [
        "demo --bits 8 --out",
        f"{TRAIN} --out",
        "evaluate codes.npy codes.npy codes.npy codes.npy --plots",
    ],
)
def test_a_folder_that_cannot_be_made_is_told_of_before_any_work(folder, monkeypatch, command):
    monkeypatch.setattr("fasthash.demo.run_demo", None)
    monkeypatch.setattr("fasthash.recipes.entry.train", None)
    monkeypatch.setattr("fasthash.data.read_array", None)
    result = run(f"{command} x.npy/new/er")
    assert result.exit_code == 2
    assert "expected a folder that can be written to, got x.npy/new/er" in result.output
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    result = run(f"{command} new/er")
    assert result.exit_code == 2
    assert "expected a folder that can be written to, got new/er" in result.output
    assert not (folder / "new").exists()


def test_an_evaluation_that_fails_makes_no_folder(folder):
    pytest.importorskip("matplotlib")
    result = run("evaluate codes.npy x.npy codes.npy x.npy --plots new")
    assert result.exit_code == 1
    assert not (folder / "new").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("search codes.index codes.npy hits.npz -k 1000000000000", "is not in the range"),
        ("search codes.index codes.npy hits.npz -k 2000000000000000000000000000000", "is not in the range"),
        ("search codes.index codes.npy hits.npz --radius 99999999999999999999", "is not in the range"),
        ("search codes.index codes.npy hits.npz --threads 99999999999999999999", "expected --threads from 1 to"),
        ("evaluate codes.npy codes.npy codes.npy codes.npy --at 99999999999999999999", "is not in the range"),
        ("index codes.npy new.index --bits 99999999999999999999", "expected --bits from 1 to"),
        ("fit lsh x.npy new.safetensors --bits 99999999999999999999", "expected --bits from 1 to"),
        ("fit lsh x.npy new.safetensors --random-state 99999999999999999999", "expected --random-state from 0 to"),
    ],
)
def test_a_number_that_is_too_large_is_told_of(folder, command, message):
    result = run(command)
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert len(result.output) < 500


def test_what_does_not_fit_into_memory_is_told_of(folder):
    np.save("many.npy", np.zeros((100_000, 8), np.uint8))
    result = run("search codes.index many.npy hits.npz -k 2000000000")
    assert result.exit_code == 1
    assert result.output.startswith("Error: expected less to compute, got more than fits into memory (")
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "Error: expected less to compute, got more than fits into memory\n"),
        (RuntimeError("CUDA out of memory.\nTried"), "than fits into memory (CUDA out of memory.)\n"),
        (OSError(errno.ENOSPC, "No space", "a"), "Error: [Errno 28] No space: 'a'\n"),
        (OverflowError("too large"), "Error: too large\n"),
    ],
)
def test_errors_of_reading_arguments_and_of_commands_are_told(error, message):
    def fail(*_):
        raise error

    reading = click.Command("read", params=[click.Option(["--x"], callback=fail)])
    group = Commands("all", commands=[click.Command("run", callback=fail), reading])
    for name in ("run", "read"):
        result = CliRunner().invoke(group, [name])
        assert result.exit_code == 1
        assert result.output.endswith(message)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("FlatIndex.search: expected queries of 4 bytes", "expected QUERIES of 4 bytes"),
        ("f: expected n_bits from 1 to 64, got 0", "expected --bits from 1 to 64, got 0"),
        ("a.b.C: expected no_copy to be True", "expected --no-copy to be True"),
        ("f: expected at least 3 items, got 1", "f: expected at least 3 items, got 1"),
        ("f: expected at to be an integer", "expected --at to be an integer"),
        ("f: expected queries and no_copy, got", "expected QUERIES and --no-copy, got"),
        ("f: expected queries and others, got", "expected QUERIES and others, got"),
        ("f: expected other arguments", "f: expected other arguments"),
        ("a.npy: f: expected queries of 4 bytes", "a.npy: f: expected queries of 4 bytes"),
    ],
)
def test_an_argument_of_a_function_is_told_of_as_that_of_the_command(error, message):
    def fail(**_):
        raise ValueError(error)

    options = [click.Option([name]) for name in ("--bits", "--no-copy", "--at")]
    command = click.Command("run", params=[click.Argument(["queries"]), *options], callback=fail)
    group = Commands("all", commands=[Commands("in", commands=[command])])
    assert CliRunner().invoke(group, ["in", "run", "x"]).output == f"Error: {message}\n"


def test_an_error_that_is_ours_to_mend_keeps_its_traceback():
    def fail():
        raise RuntimeError("a defect")

    result = CliRunner().invoke(Commands("all", commands=[click.Command("run", callback=fail)]), ["run"])
    assert isinstance(result.exception, RuntimeError)


def in_shell(command, **options):
    command = command.replace("fasthash", f"{sys.executable} -m fasthash")
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, **options)


def test_whoever_reads_the_output_may_go():
    done = in_shell("fasthash info | head -n 1")
    assert done.stdout.startswith("fasthash")
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize("arguments", ["info", "--help", "fit --help", "--version"])
def test_output_that_cannot_be_written_is_told_of(arguments):
    done = in_shell(f"fasthash {arguments} > /dev/full")
    assert done.returncode == 1
    assert done.stderr == f"Error: [Errno {errno.ENOSPC}] No space left on device\n"


@pytest.mark.parametrize("command", ["fit h2q x.npy new.safetensors --bits 16", f"{TRAIN} --epochs 1000000 --out new"])
def test_an_interrupt_ends_a_command_without_a_traceback(folder, command):
    if command.startswith("fit"):
        np.save("x.npy", np.random.default_rng(0).standard_normal((2_000_000, 16), dtype=np.float32))
    arguments = [sys.executable, "-c", WAITED_FOR, *command.split()]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        while not (folder / "begun").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate()
    assert process.returncode == 1
    assert error.endswith("Aborted!\n")
    assert "Traceback" not in error
    assert not (folder / "new.safetensors").exists()


WAITED_FOR = """
import signal
import sys
from pathlib import Path
from fasthash.cli import main
from fasthash.hashers import H2Q
from fasthash.recipes.loop import Training

def telling(function):
    def told(*arguments, **options):
        Path("begun").touch()
        return function(*arguments, **options)
    return told

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background ignores
H2Q._train = telling(H2Q._train)
Training._epoch = telling(Training._epoch)
main(sys.argv[1:])
"""


class Odd:
    """A class of all kinds of parameters.

    Args:
        n_bits: left out.
        plain: without
            an annotation: and long.
        maybe: a number or None.
        given: required.

    Attributes:
        other: not a parameter.
    """

    def __init__(self, n_bits: int, given: str, plain=2.5, maybe: int | None = None, odd: Unknown = None) -> None:  # noqa: F821
        self.values = (given, plain, maybe, odd)


def test_parameters_of_a_constructor_are_options():
    assert documented_parameters(Odd) == {
        "n_bits": "left out.",
        "plain": "without an annotation: and long.",
        "maybe": "a number or None.",
        "given": "required.",
    }
    assert documented_parameters(object) == {}

    @click.command()
    @options_of_parameters(Odd, without=["n_bits"])
    def command(**values):
        click.echo(sorted(values.items()))

    def said(*arguments):
        return CliRunner().invoke(command, arguments).output

    assert said("--given", "a") == "[('given', 'a'), ('maybe', None), ('plain', 2.5)]\n"
    assert said("--given", "a", "--maybe", "3", "--plain", "1") == "[('given', 'a'), ('maybe', 3), ('plain', 1.0)]\n"
    assert "Missing option '--given'" in said()
    assert "'1.5' is not a valid integer" in said("--given", "a", "--maybe", "1.5")
