"""The records as a table."""

from __future__ import annotations

from benchmarks.gpu.bench import Row
from benchmarks.gpu.records import Records

COLUMNS = ("", "alone, min ms", "median ms", "in a row, ms", "in a graph, ms", "times", "floor ms", "target ms", "met")


def markdown(records: Records) -> str:
    """Return every group of rows, with floors and targets by the device's own ceilings."""
    begins, checks = records.last("begin"), records.last("check", "check")
    facts = begins[-1]["facts"] if begins else {}
    rates = {name: rate for r in records.last("ceilings") for name, rate in r.items() if name.endswith("_per_s")}
    copy_rate = rates.get("copy_bytes_per_s")
    failed = [check["check"] for check in checks if check["error"]]
    lines = [
        "# GPU",
        "",
        "Written by `python -m benchmarks.gpu`. " + ", ".join(f"{name} {value}" for name, value in facts.items()) + ".",
        f"{len(checks) - len(failed)} of {len(checks)} checks passed, on poisoned memory, against integer or float64 "
        "references; gpu.jsonl lists them." + (f" FAILED: {'; '.join(failed)}." if failed else ""),
    ]
    lines += [f"{end['step']}: {end['status']}." for end in records.last("end") if end["status"] != "passed"]
    if facts.get("device") == "a CPU":
        lines.append("No speed of a GPU is in this file.")
    if rates:
        product = rates["product_flop_per_s"] / 1e12
        lines.append(
            f"Ceilings: copy {copy_rate / 1e12:.3f} TB/s (read and written), bfloat16 product {product:.1f} TFLOP/s."
        )
    lines += [
        "",
        "Alone: single calls by the device's clock, its cache flushed before each. In a row: one of many calls, by the "
        "host's clock. In a graph: without the host. A floor is the bytes of all passes at the copy's rate. What is "
        "compared, with the target and in times the group's first row, is the graph's time, else that in a row.",
    ]
    rows = [Row(**{name: r[name] for name in Row.__dataclass_fields__}) for r in records.last("row", "group", "row")]
    for group in dict.fromkeys(row.group for row in rows):
        lines += ["", f"## {group}", "", "| " + " | ".join(COLUMNS) + " |", "| --- " * len(COLUMNS) + "|"]
        of_group = [row for row in rows if row.group == group]
        lines += [line_of(row, of_group[0].judged_ms, copy_rate) for row in of_group]
    return "\n".join(lines) + "\n"


def line_of(row: Row, first_ms: float, copy_rate: float | None) -> str:
    floor = None if row.n_bytes is None or not copy_rate else 1e3 * row.n_bytes / copy_rate
    target = floor / row.share if floor is not None and row.share else row.target_ms
    met = "" if target is None else "yes" if row.judged_ms <= target else "no"
    times = (row.min_ms, row.median_ms, row.call_ms, row.graph_ms, row.judged_ms / first_ms, floor, target)
    cells = ["" if x is None else f"{x:.4f}" if x < 10 else f"{x:.1f}" for x in times]
    return f"| {' | '.join([row.row, *cells, ' '.join(filter(None, (met, row.wanted)))])} |"
