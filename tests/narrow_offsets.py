"""Which products of 32 bits reach an address in Triton's intermediate language: they overflow beyond 2^31 elements."""

from __future__ import annotations

import re
from collections import defaultdict

VALUE = re.compile(r"%(\w+)(?:#\d+)?")
ASSIGNED = re.compile(r"\s*((?:%\w+(?::\d+)?(?:, )?)+) = \"?([\w.]+)(.*)")
LOCATION = re.compile(r" loc\((?:[^()]|\([^()]*\))*\)")
FROM_LAUNCH = ("tt.get_program_id", "tt.get_num_programs")
MEMORY = ("tt.load", "tt.atomic_rmw")  # what they return is not made of their addresses


def narrow_offsets(ttir: str) -> set[str]:
    """Return the names of int32 products of sizes, strides or numbers of programs that reach an address.

    Constants, and what is loaded, are not followed.
    """
    reaches = defaultdict(set)
    sizes, products, offsets = set(), [], set()
    loops: list[tuple[list[str], list[str]]] = []  # the results and what is carried, of each loop or branch
    for line in LOCATION.sub("", ttir).splitlines():
        if "tt.func" in line or re.match(r"\s+%\w+: ", line):
            sizes |= set(re.findall(r"%(\w+): i(?:32|64)\b", line))
            continue
        if line.strip().startswith("}") and loops and "else" not in line and " do " not in line:
            loops.pop()
        assigned = ASSIGNED.match(line)
        results = VALUE.findall(assigned[1]) if assigned else []
        op, rest = (assigned[2], assigned[3]) if assigned else (*line.strip().partition(" ")[::2],)
        operands = VALUE.findall(rest)
        if op in ("scf.for", "scf.while", "scf.if"):
            carried = re.findall(r"%(\w+) = %(\w+)", rest)
            loops.append((results, [name for name, _ in carried]))
            for name, initial in carried:
                reaches[initial] |= {name, *results}
            if op == "scf.for":
                counter, *bounds = operands[:4]
                for bound in bounds:
                    reaches[bound].add(counter)
            continue
        if op in ("scf.yield", "scf.condition") and loops:
            results = [name for names in loops[-1] for name in names]
        if op in FROM_LAUNCH:
            sizes |= set(results)
        if op == "tt.addptr":
            offsets.add(operands[1])
        if op in ("arith.muli", "arith.shli") and re.search(r": (tensor<[\dx]*)?i32>?$", line):
            products.append((results[0], operands))
        if op not in MEMORY:
            for operand in operands:
                reaches[operand] |= set(results)
    of_sizes = closure(reaches, sizes)
    found = {
        product for product, factors in products if of_sizes & set(factors) and closure(reaches, {product}) & offsets
    }
    return {re.sub(r"_\d+$", "", name) for name in found}


def closure(reaches: dict[str, set[str]], names: set[str]) -> set[str]:
    """Return the names and all that they reach."""
    seen, left = set(names), list(names)
    while left:
        new = reaches.get(left.pop(), set()) - seen
        seen |= new
        left += new
    return seen
