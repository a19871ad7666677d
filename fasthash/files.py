"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

_MAX_NAME_BYTES = 255  # of a file, in most file systems
_TOKEN = 16  # hexadecimal digits


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of an empty file beside `path` to be written; on leaving it takes that place, or vanishes.

    Whoever reads `path`, at whatever moment and after whatever interruption, finds the old file or the new one, with
    the mode of the old one and, as far as it is permitted, its owner and group; where there was none, with the mode
    that the process gives new files. What a symbolic link leads to is replaced. A process that is killed may leave a
    file `.<name>.<16 hexadecimal digits>`, cut in the name where that would be too long for a file's; the next that
    writes the same file deletes it, where the file system has locks (`flock`), which tell whether somebody writes it.

    Raises:
        OSError: of what the system refuses, as an error of `path`.
    """
    target = Path(os.path.realpath(path))
    unfinished = target.with_name(_unfinished_name(target.name))
    try:
        old = _status(target)
        _delete_abandoned(target)
        # Open to no more users than the old file was, while it is written.
        mode = 0o666 if old is None else stat.S_IMODE(old.st_mode) & 0o066 | 0o600
        descriptor = _created(unfinished, mode)
        try:
            yield unfinished
            if old is not None:
                _make_alike(unfinished, old)
            _sync(unfinished)
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)
            os.close(descriptor)
        _sync(target.parent)
    except OSError as error:
        own = error.filename is None or str(error.filename) in map(str, (unfinished, target, target.parent))
        if error.errno is None or not own:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _created(path: Path, mode: int) -> int:
    """Return the descriptor of a new file, which is locked while it is open."""
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        _lock(descriptor, wait=True)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # taken for abandoned before it was locked


def _lock(descriptor: int, wait: bool) -> bool:
    """Lock a file until it is closed, or the process ends, and return whether that could be done."""
    import fcntl  # which Windows has not

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _delete_abandoned(target: Path) -> None:
    """Delete the unfinished files of a target that no process has locked."""
    unfinished = re.compile(re.escape(_unfinished_name(target.name)[:-_TOKEN]) + f"[0-9a-f]{{{_TOKEN}}}")
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if unfinished.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _delete_unless_locked(entry.path)


def _delete_unless_locked(path: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)  # flock wants a file open for writing on NFS
        try:
            if _lock(descriptor, wait=False):
                os.unlink(path)
        finally:
            os.close(descriptor)


def _unfinished_name(name: str) -> str:
    ending = f".{secrets.token_hex(_TOKEN // 2)}"
    while len(os.fsencode(f".{name}{ending}")) > _MAX_NAME_BYTES:
        name = name[:-1]
    return f".{name}{ending}"


def _status(target: Path) -> os.stat_result | None:
    """Return the status of a file that can be replaced, or None."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a file that can be replaced", str(target))
    return status


def _make_alike(path: Path, old: os.stat_result) -> None:
    """Give a file the owner, the group and the mode of another; a group that it cannot have gets what others have."""
    mode = stat.S_IMODE(old.st_mode)
    try:
        os.chown(path, old.st_uid, old.st_gid)
    except PermissionError:
        try:
            os.chown(path, -1, old.st_gid)
        except PermissionError:
            mode = mode & 0o707 | (mode & 0o007) << 3
    os.chmod(path, mode)


def _sync(path: Path) -> None:
    """Make what was written to a file, or renamed in a folder, outlast a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
