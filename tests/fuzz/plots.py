"""Sound calls of what draws; that there is a figure is all that is asked of it here."""

from __future__ import annotations

from random import Random

from tests.fuzz.calls import Call, option, target
from tests.fuzz.values import array, at_least_one, seed

PREFIX = "fasthash.evaluate.plots"


def figure(r: Random, name: str, arguments: dict[str, str], arrays: tuple[str, ...] = ()) -> Call:
    def check(result, **given):
        assert len(result.axes) > 0

    arguments |= option(r, {"title": "'of it'"})
    return Call(f"fh.evaluate.plots.{name}", name, arguments, check, arrays=arrays)


@target(f"{PREFIX}.precision_recall_figure", weight=0.01, needs="matplotlib")
def precision_recall_figure(r: Random) -> Call:
    curve = f"fh.evaluate.PrecisionRecallCurve({array(r, 'np.ones(9)')}, np.linspace(0, 1, 9))"
    return figure(r, "precision_recall_figure", {"curves": f"{{'a': {curve}}}"})


@target(f"{PREFIX}.precision_at_figure", weight=0.01, needs="matplotlib")
def precision_at_figure(r: Random) -> Call:
    return figure(r, "precision_at_figure", {"curves": "{'a': {1: 0.5, 10: 0.25}}"})


@target(f"{PREFIX}.training_figure", weight=0.01, needs="matplotlib")
def training_figure(r: Random) -> Call:
    return figure(r, "training_figure", {"curves": "{'loss': [3, 2.5, 1]}", **option(r, {"ylabel": "'mAP'"})})


@target(f"{PREFIX}.codes_figure", weight=0.01, needs="matplotlib")
def codes_figure(r: Random) -> Call:
    return figure(r, "codes_figure", {"entropies": "{'a': np.ones(9)}", "angles": "{'a': 0.5}"})


@target(f"{PREFIX}.retrieval_grid", weight=0.01, needs="matplotlib")
def retrieval_grid(r: Random) -> Call:
    q, k, colours = r.choice((1, 2)), r.choice((1, 2)), r.choice(("", ", 3"))
    arguments = {
        "queries": f"integers({seed(r)}, 256, {q}, 4, 4{colours}, dtype='uint8')",
        "hits": f"integers({seed(r)}, 256, {q}, {k}, 4, 4{colours}, dtype='uint8')",
        "right": f"integers({seed(r)}, 2, {q}, {k}, dtype=bool)",
        **option(r, {"captions": repr([["near"] * k] * q)}),
    }
    return figure(r, "retrieval_grid", arguments, ("queries", "hits", "right"))


@target(f"{PREFIX}.code_map", weight=0.002, needs="matplotlib")
def code_map(r: Random) -> Call:
    n = 3 + at_least_one(r)
    arguments = {"codes": array(r, f"packed({seed(r)}, {n}, 2)"), "labels": f"np.arange({n}) % 3"}
    return figure(r, "code_map", arguments | option(r, {"seed": "3"}), ("codes", "labels"))
