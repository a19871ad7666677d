"""Draw calls of every public function by number, make them, and print those that come to what they must not.

python -m tests.fuzz --calls 1000000 --only fasthash.hamming
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from random import Random

import torch

from tests.fuzz.calls import TARGETS, WEIGHTS, WrongError, can_be_called, drawn, run
from tests.fuzz.targets import load

PRINTED = 40  # kinds of failures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Call everything public.")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names that begin so")
    options = parser.parse_args()
    torch.set_num_threads(1)  # threads wait longer for each other than small tensors take
    load()
    names = [name for name in TARGETS if name.startswith(options.only) and can_be_called(name)]
    weights = [WEIGHTS[name] for name in names]
    kinds: dict[str, list[str]] = {}
    start = time.perf_counter()
    for i in range(options.calls):
        r = Random(options.seed << 40 | i)
        call = drawn(r.choices(names, weights)[0], r)
        try:
            run(call)
        except WrongError as wrong:
            problem = str(wrong).rpartition("\n  ")[2]
            kinds.setdefault(re.sub(r"\d+", "0", f"{call.where} {problem:.90}"), []).append(str(wrong))
    seconds = time.perf_counter() - start
    for lines in sorted(kinds.values(), key=len, reverse=True)[:PRINTED]:
        print(f"{len(lines)} times: {min(lines, key=len)}\n"[:1200])
    n = sum(map(len, kinds.values()))
    print(
        f"{options.calls} calls of {len(names)} names, {n} wrong of {len(kinds)} kinds; "
        f"{options.calls / seconds:.0f} a second"
    )
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
