"""Tensors in safetensors files."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from fasthash.tensor_files import read_metadata, read_tensors, write_tensors
from tests.conftest import damaged

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
TENSORS = {str(dtype): torch.ones(3, 2).to(dtype) for dtype in DTYPES}
TENSORS |= {"none": torch.zeros(0, 4), "scalar": torch.tensor(2.5)}


@pytest.fixture
def path(tmp_path):
    write_tensors(tmp_path / "a", {"format": "things 1", "size": "3"}, TENSORS)
    return tmp_path / "a"


def test_what_is_written_is_read(path):
    metadata, tensors = read_tensors("expected", path, "things 1", ["size"])
    assert metadata == {"format": "things 1", "size": "3"}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
        assert torch.equal(load_file(path)[name], tensor)
    assert read_metadata("expected", path).keys() == {"format", "size", "blake2b"}


@pytest.mark.parametrize(
    ("form", "fields", "message"),
    [
        ("things 2", ["size"], "^no, got one of format 'things 1', where 'things 2' is read$"),
        ("things 1", [], "^no, got one that is described by format, size$"),
        ("things 1", ["size", "more"], "^no, got one that is described by format, size$"),
    ],
)
def test_a_file_of_something_else_is_refused(path, form, fields, message):
    with pytest.raises(ValueError, match=message):
        read_tensors("no, got", path, form, fields)


def test_a_file_that_changed_is_refused(path):
    write_tensors(
        path, {"format": "things 1", "size": "3"}, {name: TENSORS[name] for name in TENSORS if "bool" not in name}
    )
    for content in damaged(path.read_bytes(), 500):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="^no, got "):
            read_tensors("no, got", path, "things 1", ["size"])


def test_exchanged_names_dtypes_and_metadata_do_not_match_the_checksum(path):
    content = path.read_bytes()
    for old, new in ((b"torch.float64", b"torch.float46"), (b'"size":"3"', b'"size":"4"'), (b'"F16"', b'"I16"')):
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))
        with pytest.raises(ValueError, match="does not match its checksum"):
            read_tensors("no, got", path, "things 1", ["size"])
