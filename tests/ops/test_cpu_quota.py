"""How many processors' time control groups give, read from made-up trees, and the default number of threads."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest

from fasthash import _core

MOUNT = "30 24 0:26 {group} {folder} rw,nosuid,nodev shared:4 - {kind} source rw,{options}\n"
V2 = MOUNT.format(group="/", folder="/sys/fs/cgroup", kind="cgroup2", options="nsdelegate")
V1 = MOUNT.format(group="/", folder="/sys/fs/cgroup/cpu,cpuacct", kind="cgroup", options="cpu,cpuacct")
OTHERS = "22 28 0:21 / /sys rw - sysfs sysfs rw\n" + MOUNT.format(
    group="/", folder="/sys/fs/cgroup/cpuset", kind="cgroup", options="cpuset"
)


def tree(root, groups, mounts, **limits):
    """Write what /proc says of groups and mounts, and the limits by path."""
    files = {"proc/self/cgroup": groups, "proc/self/mountinfo": OTHERS + mounts, **limits}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


def v1(folder, quota, period=100_000):
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


@pytest.mark.parametrize(("limit", "quota"), [("150000 100000", 1.5), ("max 100000", math.inf), ("50000 200000", 0.25)])
def test_the_quota_of_a_group(tmp_path, limit, quota):
    limits = {"sys/fs/cgroup/box/cpu.max": limit + "\n"}
    assert _core.cpu_quota(tree(tmp_path, "0::/box\n", V2, **limits)) == quota


@pytest.mark.parametrize("tightest", ["", "/a", "/a/b", "/a/b/c"])
def test_every_ancestor_counts(tmp_path, tightest):
    limits = {f"sys/fs/cgroup{group}/cpu.max": "800000 100000" for group in ("", "/a", "/a/b", "/a/b/c")}
    limits[f"sys/fs/cgroup{tightest}/cpu.max"] = "300000 100000"
    limits["sys/fs/cgroup/another/cpu.max"] = "100000 100000"
    assert _core.cpu_quota(tree(tmp_path, "0::/a/b/c\n", V2, **limits)) == 3


def test_a_container_sees_its_group_as_the_root(tmp_path):
    """With its own name space of groups, and without, where the path is the host's."""
    inside = tree(tmp_path / "own", "0::/\n", V2, **{"sys/fs/cgroup/cpu.max": "250000 100000"})
    assert _core.cpu_quota(inside) == 2.5
    mount = MOUNT.format(group="/docker/1f", folder="/sys/fs/cgroup", kind="cgroup2", options="nsdelegate")
    limits = {"sys/fs/cgroup/cpu.max": "250000 100000", "sys/fs/cgroup/job/cpu.max": "50000 100000"}
    assert _core.cpu_quota(tree(tmp_path / "job", "0::/docker/1f/job\n", mount, **limits)) == 0.5
    assert _core.cpu_quota(tree(tmp_path / "other", "0::/docker/1f2/job\n", mount, **limits)) == 2.5


def test_version_1(tmp_path):
    groups = "9:cpuset:/box\n4:cpu,cpuacct:/box/job\n1:name=systemd:/box\n"
    limits = {
        **v1("sys/fs/cgroup/cpu,cpuacct", -1),
        **v1("sys/fs/cgroup/cpu,cpuacct/box", 120_000, 40_000),
        **v1("sys/fs/cgroup/cpu,cpuacct/box/job", 600_000),
        **v1("sys/fs/cgroup/cpuset/box", 10_000),
    }
    assert _core.cpu_quota(tree(tmp_path, groups, V1, **limits)) == 3


def test_both_versions_at_once(tmp_path):
    limits = {**v1("sys/fs/cgroup/cpu,cpuacct/box", 200_000), "sys/fs/cgroup/unified/cpu.max": "700000 100000"}
    mounts = V1 + MOUNT.format(group="/", folder="/sys/fs/cgroup/unified", kind="cgroup2", options="nsdelegate")
    assert _core.cpu_quota(tree(tmp_path, "4:cpu,cpuacct:/box\n0::/\n", mounts, **limits)) == 2


@pytest.mark.parametrize("groups", ["", "0::/box\n", "nonsense\n:\n", "3:cpu:/box\n"])
def test_no_limit_where_none_is_found(tmp_path, groups):
    assert _core.cpu_quota(tree(tmp_path, groups, "nonsense\n- - -\n" + V1 + V2)) == math.inf
    assert _core.cpu_quota(str(tmp_path / "absent")) == math.inf


def test_a_limit_that_cannot_be_read_is_none(tmp_path):
    assert _core.cpu_quota(tree(tmp_path, "0::/\n", V2, **{"sys/fs/cgroup/cpu.max": "0 0"})) == math.inf


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="affinity is Linux's")
def test_processors_are_the_lesser_of_affinity_and_quota():
    affinity = len(os.sched_getaffinity(0))
    expected = [1, 1, min(affinity, 2), affinity, affinity]
    assert [_core.processors(quota) for quota in (0.25, 1, 1.01, 1e6, math.inf)] == expected


def test_the_default_number_of_threads():
    environment = {name: value for name, value in os.environ.items() if name != "FASTHASH_THREADS"}
    script = "from fasthash import _core; print(_core.default_threads(), _core.processors(_core.cpu_quota('')))"
    default, expected = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True).split()
    assert default == expected
