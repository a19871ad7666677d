"""Sound calls of what finds pairs, and their answers in plain NumPy."""

from __future__ import annotations

from random import Random

import numpy as np

from fasthash.ops import pairs
from tests.fuzz.calls import Call, equal, option, same_form, target
from tests.fuzz.ops import WIDTHS, codes, distances, eligible, kernel_option, mask_of
from tests.fuzz.values import numbers, some_rows

FIXED = ("max_pairs", "progress")  # fewer pairs may be right, and a bar is written


def pairs_within(codes, radius, others, mask, copies="first"):
    """All pairs of a set, or between two, by all distances."""
    found = distances(codes, codes if others is None else others)
    takes_part = eligible(mask, len(found))
    within = (found <= int(radius)) & takes_part[:, None]
    if others is None:
        within = np.triu(within & takes_part, 1)
        if copies == "first":
            is_copy = np.triu((found == 0) & within, 1).any(0)
            within &= ~is_copy[:, None] & (~is_copy | (found == 0))
    i, j = np.nonzero(within)
    return i, j, found[i, j]


def pair_arguments(r: Random, *, two_sets: bool) -> dict[str, str]:
    width, n = r.choice(WIDTHS), some_rows(r)
    return {
        **{"codes": codes(r, n, width), "radius": str(r.randint(0, 8 * width))},
        **(option(r, {"others": codes(r, some_rows(r), width)}, 0.5) if two_sets else {}),
        **option(r, {"mask": mask_of(r, n), "threads": "2", "progress": "False"}),
        **kernel_option(r, pairs),
    }


@target("fasthash.hamming_pairs")
def hamming_pairs(r: Random) -> Call:
    def check(result, codes, radius, others=None, mask=None, since=0, copies="first", **options):
        assert not since or (others is None and copies == "first")
        expected = pairs_within(codes, radius, others, mask, copies)
        for x, column in zip(result, expected, strict=True):
            same_form(x, codes)
            equal(x, column[expected[1] >= int(since)])

    arguments = {**pair_arguments(r, two_sets=True), **option(r, {"copies": "'all'", "max_pairs": "10**4"})}
    if not arguments.keys() & {"others", "copies"}:
        arguments |= option(r, {"since": "0"})
    return Call(
        "fh.hamming_pairs",
        "hamming_pairs",
        arguments,
        check,
        arrays=("codes", "others", "mask"),
        fixed=FIXED,
    )


@target("fasthash.iter_hamming_pairs")
def iter_hamming_pairs(r: Random) -> Call:
    def check(result, codes, radius, others=None, mask=None, first=0, **options):
        parts = list(result)
        i, j, apart = pairs_within(codes, radius, others, mask)
        for k, expected in enumerate((i, j, apart)):
            found = [numbers(part[k]) for part in parts]
            equal(np.concatenate([np.empty(0, expected.dtype), *found]), expected[i >= int(first)])

    arguments = {**pair_arguments(r, two_sets=True), **option(r, {"first": "0", "part_pairs": str(r.randint(1, 50))})}
    return Call(
        "fh.iter_hamming_pairs",
        "iter_hamming_pairs",
        arguments,
        check,
        arrays=("codes", "others", "mask"),
        fixed=FIXED,
    )


@target("fasthash.duplicate_groups")
def duplicate_groups(r: Random) -> Call:
    def check(result, codes, radius, mask=None, linkage="single", representative="first", **options):
        offsets, members, representatives = (numbers(x) for x in result)
        found = distances(codes, codes)
        groups = np.split(members, offsets[1:-1]) if len(offsets) > 1 else []
        apart = [found[np.ix_(group, group)] for group in groups]
        for group, within, chosen in zip(groups, apart, representatives, strict=True):
            assert len(group) > 1
            assert within.max() <= int(radius) or linkage == "single"
            assert chosen == group[0] if representative == "first" else chosen in group
        there = np.flatnonzero(eligible(mask, len(found)))
        single = np.setdiff1d(there, members)
        assert len(single) + len(members) == len(there)
        assert (found[np.ix_(single, single)] > int(radius))[~np.eye(len(single), dtype=bool)].all()

    arguments = {
        **pair_arguments(r, two_sets=False),
        **option(r, {"linkage": "'complete'", "representative": "'central'", "max_pairs": "10**4"}),
    }
    return Call(
        "fh.duplicate_groups",
        "duplicate_groups",
        arguments,
        check,
        arrays=("codes", "mask"),
        fixed=FIXED,
    )
