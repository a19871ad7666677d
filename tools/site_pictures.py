"""The pictures in `docs/pictures`; `python tools/site_pictures.py` draws them, those of numbers from the results."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"

INK, GRAY, LINE, PAPER = "#1f2433", "#5c6377", "#9aa1b5", "#ffffff"
BLUE, ORANGE, GREEN, RED = "#3f51b5", "#d9730d", "#2e7d4f", "#b3261e"
PALE_BLUE, PALE_ORANGE, PALE_GREEN, PALE_GRAY = "#e3e7fa", "#fdebd8", "#dff2e5", "#f0f1f5"


class Picture:
    """Lines, boxes and words of an SVG of a width that a phone shows without shrinking words much."""

    def __init__(self, height: int, label: str, width: int = 480) -> None:
        self.width, self.height, self.label = width, height, label
        self.parts: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 15,
        color: str = INK,
        anchor: str = "start",
        weight: int = 400,
    ) -> None:
        """Write words whose baseline begins, ends or has its middle at (x, y)."""
        style = f'font-size="{size}" fill="{color}" text-anchor="{anchor}" font-weight="{weight}"'
        self.parts.append(f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>')

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = PALE_GRAY,
        edge: str = LINE,
        round: int = 4,
    ) -> None:
        """Draw a rectangle."""
        place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round}"'
        self.parts.append(f'<rect {place} fill="{fill}" stroke="{edge}"/>')

    def note(self, x: float, y: float, width: float, lines: Sequence[str], fill: str, edge: str) -> None:
        """Draw a box with lines of words in its middle, the first of them bold, 20 high each."""
        self.box(x, y, width, 14 + 20 * len(lines), fill=fill, edge=edge, round=6)
        for i, words in enumerate(lines):
            self.text(x + width / 2, y + 22 + 20 * i, words, size=14, anchor="middle", weight=600 if i == 0 else 400)

    def line(
        self, *points: tuple[float, float], color: str = LINE, width: float = 1.5, arrow: bool = False, dash: str = ""
    ) -> None:
        """Draw a line through points, ending in an arrow if wanted."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        more = (' marker-end="url(#arrow)"' if arrow else "") + (f' stroke-dasharray="{dash}"' if dash else "")
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width:g}"{more}/>')

    def dot(self, x: float, y: float, color: str, radius: float = 5) -> None:
        """Draw a disc."""
        self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{color}"/>')

    def cells(self, x: float, y: float, bits: str, *, size: int = 22, fills: dict[str, str] | None = None) -> None:
        """Draw a row of squares with a letter each."""
        for i, bit in enumerate(bits):
            self.box(x + i * size, y, size, size, fill=(fills or {}).get(bit, PAPER), round=0)
            self.text(x + (i + 0.5) * size, y + 0.72 * size, bit, size=14, anchor="middle")

    def svg(self) -> str:
        """Return the file."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}"'
        arrow = f'<path d="M0,0 L8,4 L0,8 z" fill="{GRAY}"/>'
        marker = f'<marker id="arrow" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">{arrow}</marker>'
        return "\n".join(
            [
                f'{head} height="{self.height}" role="img" font-family="Helvetica, Arial, sans-serif">',
                f"<title>{escape(self.label)}</title>",
                f"<defs>{marker}</defs>",
                f'<rect width="{self.width}" height="{self.height}" fill="{PAPER}"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a table of results."""
    return list(csv.DictReader((RESULTS / name).read_text().splitlines()))


def methods() -> str:
    """Which hasher: four questions."""
    picture = Picture(600, "Which method: four questions, each with its answer")
    steps = [
        (("Labels for the items?",), ("Train a network on them", "fasthash train supervised")),
        (("Labels only in", "another domain?"), ("Train for both domains", "fasthash train igan")),
        (("More bits than dimensions,", "or nothing to fit on?"), ("LSH", "as many bits as you like")),
        (("Must the fit take", "under ten seconds?"), ("ITQ or H2Q", "up to 7 s, as measured")),
    ]
    y = 10
    for question, answer in steps:
        picture.note(10, y, 210, question, PALE_BLUE, BLUE)
        picture.note(275, y, 195, answer, PALE_GREEN, GREEN)
        height = 14 + 20 * len(question)
        picture.line((220, y + 27), (273, y + 27), color=GRAY, arrow=True)
        picture.text(246, y + 21, "yes", size=13, color=GRAY, anchor="middle")
        picture.line((115, y + height), (115, y + 108), color=GRAY, arrow=True)
        picture.text(123, y + 90, "no", size=13, color=GRAY)
        y += 110
    picture.note(
        10, y, 210, ("NeighborHashing", "7 to 41 s; most neighbours", "from the same bytes"), PALE_GREEN, GREEN
    )
    picture.line((220, y + 37), (273, y + 37), color=GRAY, arrow=True)
    picture.note(
        275, y, 195, ("With each of them", "float queries find more:", "hasher.transform(q)"), PALE_ORANGE, ORANGE
    )
    picture.text(10, 572, "Times: fit on 1,500 to 60,000 embeddings of 64 to 384", size=13, color=GRAY)
    picture.text(10, 590, "dimensions, one thread (benchmarks/results/quantizers.md).", size=13, color=GRAY)
    return picture.svg()


def axes(picture: Picture, left: int, top: int, bottom: int, ticks: Sequence[tuple[float, str]], title: str) -> None:
    """Draw horizontal lines at heights from 0, the bottom, to 1, the top, with their names."""
    picture.text(left, top - 14, title, size=14, weight=600)
    for height, name in ticks:
        y = bottom - height * (bottom - top)
        picture.line((left, y), (picture.width - 10, y), color="#dcdfe8", width=1)
        picture.text(left - 8, y + 5, name, size=13, color=GRAY, anchor="end")


def recall() -> str:
    """Recall over bits, of sentence embeddings, by hasher."""
    sentences = [row for row in rows("quantizers.csv") if row["data"].startswith("sentences")]
    bits = sorted({int(row["bits"]) for row in sentences})
    picture = Picture(400, "Recall at 10 of codes of sentence embeddings over their bits, by hasher")
    left, top, bottom, step = 50, 50, 320, 72
    axes(
        picture,
        left,
        top,
        bottom,
        [(i / 4, f"{i / 5:.1f}") for i in range(5)],
        "recall@10 of 9,000 sentence embeddings",
    )
    for i, n in enumerate(bits):
        picture.text(left + 30 + step * i, bottom + 20, str(n), size=13, color=GRAY, anchor="middle")
    picture.text(left + 30 + 2.5 * step, bottom + 40, "bits", size=13, color=GRAY, anchor="middle")
    names = (("NeighborHashing", BLUE), ("H2Q", GREEN), ("ITQ", ORANGE), ("LSH", RED))
    for place, (name, color) in enumerate(names):
        points = []
        for i, n in enumerate(bits):
            found = [float(x["hamming"]) for x in sentences if x["hasher"] == name and int(x["bits"]) == n]
            points.append((left + 30 + step * i, bottom - fmean(found) / 0.8 * (bottom - top)))
        picture.line(*points, color=color, width=2.5)
        for x, y in points:
            picture.dot(x, y, color, 3.5)
        picture.line((left + 8, 66 + 20 * place), (left + 28, 66 + 20 * place), color=color, width=3)
        picture.text(left + 34, 71 + 20 * place, name, size=13)
    picture.text(10, 385, "Codes against codes; mean of three seeds. quantizers.csv", size=13, color=GRAY)
    return picture.svg()


def speed() -> str:
    """Comparisons a second over the length of codes, beside FAISS."""
    measured = rows("hamming.csv")
    bits = [64, 128, 256, 512, 1024]
    picture = Picture(400, "Comparisons a second over the length of the codes, fasthash and FAISS")
    left, top, bottom, most = 50, 50, 310, 32
    axes(
        picture,
        left,
        top,
        bottom,
        [(i / most, str(i)) for i in (0, 8, 16, 24, 32)],
        "10^9 comparisons a second, one core",
    )
    for i, n in enumerate(bits):
        group = [row for row in measured if row["group"] == f"{n} bits n=1e6 q=100 k=10"]
        x = left + 12 + i * 84
        for j, (library, color) in enumerate((("fasthash", BLUE), ("faiss", ORANGE))):
            best = max(float(row["gcomparisons_per_s"]) for row in group if row["row"].startswith(library))
            height = best / most * (bottom - top)
            picture.box(x + 34 * j, bottom - height, 32, height, fill=color, edge=color, round=1)
            picture.text(x + 34 * j + 16, bottom - height - 5, f"{best:.3g}", size=13, anchor="middle")
        picture.text(x + 33, bottom + 20, f"{n} bits", size=13, color=GRAY, anchor="middle")
    for j, (name, color) in enumerate((("fasthash", BLUE), ("FAISS IndexBinaryFlat, the better mode", ORANGE))):
        picture.box(190, 60 + 22 * j, 14, 14, fill=color, edge=color, round=1)
        picture.text(210, 72 + 22 * j, name, size=13)
    picture.text(10, 360, "100 queries, the 10 nearest of 10^6 random codes, exact.", size=13, color=GRAY)
    picture.text(10, 380, "AMD EPYC with AVX-512 VPOPCNTDQ. hamming.csv", size=13, color=GRAY)
    return picture.svg()


def planes() -> str:
    """Codes turned into planes, of which a query adds some."""
    picture = Picture(
        500, "Codes are turned into planes; a query adds the planes of its ones and compares all codes at once"
    )
    codes = ["1011", "0010", "1110", "0111", "1000", "0011"]
    fills = {"1": PALE_BLUE}
    picture.text(10, 24, "Six codes of four bits, a row each", weight=600)
    for i, code in enumerate(codes):
        picture.cells(20, 38 + 22 * i, code, fills=fills)
    picture.line((125, 104), (180, 104), color=GRAY, arrow=True)
    picture.text(152, 94, "turn", size=13, color=GRAY, anchor="middle")
    picture.text(200, 48, "a plane a bit: bit b of all codes", size=14)
    query = "1100"
    for b in range(4):
        y = 60 + 26 * b
        picture.text(196, y + 16, f"b = {b}", size=13, color=GRAY)
        picture.cells(240, y, "".join(code[b] for code in codes), fills=fills)
        picture.text(382, y + 16, f"query: {query[b]}", size=13, color=GREEN if query[b] == "1" else GRAY)
    picture.text(10, 205, "Add the planes of the query's ones: here two of four", weight=600)
    picture.note(
        20,
        220,
        300,
        ("full adder: two planes and a carry", "in 512 codes at once, 2 to 5 instructions"),
        PALE_ORANGE,
        ORANGE,
    )
    overlap = "".join(str(sum(code[b] == "1" for b in range(4) if query[b] == "1")) for code in codes)
    picture.line((170, 276), (170, 298), color=GRAY, arrow=True)
    picture.text(20, 318, "S = ones shared with the query", size=14)
    picture.cells(240, 303, overlap, fills={"2": PALE_ORANGE, "1": PALE_ORANGE})
    ones = "".join(str(code.count("1")) for code in codes)
    picture.text(20, 350, "A = ones of the code, stored", size=14)
    picture.cells(240, 335, ones)
    distances = "".join(str(query.count("1") + int(a) - 2 * int(s)) for a, s in zip(ones, overlap, strict=True))
    picture.text(20, 382, "distance = |q| + A - 2 S", size=14, weight=600)
    picture.cells(240, 367, distances, fills={x: PALE_GREEN for x in "01"})
    picture.text(10, 422, "Only whether it is below the limit is computed, as the", size=14)
    picture.text(10, 442, "borrow of a subtraction: a plane with one bit a code.", size=14)
    below = "".join("1" if int(x) < 2 else "0" for x in distances)
    picture.text(20, 478, "distance < 2 ?", size=14)
    picture.cells(240, 462, below, fills={"1": PALE_GREEN})
    return picture.svg()


def selection() -> str:
    """The values of a column, and the threshold that parts them."""
    picture = Picture(400, "A threshold parts a column's values; no order within the halves is needed")
    values = [-1.35, 0.9, -0.2, 1.25, -0.85, 0.35, -1.1, 1.05, 0.15, -0.5]
    left, scale = 240, 140

    def axis(y: float) -> None:
        picture.line((30, y), (450, y))
        for bit in (-1, 1):
            picture.line((left + bit * scale, y - 8), (left + bit * scale, y + 8), color=INK, width=2)

    picture.text(10, 24, "Outputs of one bit for a batch of ten", weight=600)
    axis(60)
    for value in values:
        picture.dot(left + value * scale, 60, BLUE)
    picture.text(left - scale, 88, "-1", size=13, color=GRAY, anchor="middle")
    picture.text(left + scale, 88, "+1", size=13, color=GRAY, anchor="middle")
    picture.text(10, 124, "By sorting: rank 1 to 5 go to -1, rank 6 to 10 to +1", weight=600)
    for i, value in enumerate(sorted(values)):
        picture.text(36 + 42 * i, 150, f"{value:g}", size=13, color=RED if i < 5 else GREEN, anchor="middle")
    picture.text(10, 194, "By selection: a threshold with five values below it", weight=600)
    axis(236)
    middle = left + scale * (sorted(values)[4] + sorted(values)[5]) / 2
    picture.line((middle, 208), (middle, 264), color=ORANGE, width=3, dash="6 4")
    for value in values:
        picture.dot(left + value * scale, 236, RED if left + value * scale < middle else GREEN)
    picture.text(middle, 282, "threshold", size=13, color=ORANGE, anchor="middle")
    for value in (-0.5, 0.35):
        target = -1 if value < 0 else 1
        y = 252 if value < 0 else 262
        picture.line((left + value * scale, y), (left + target * scale, y), color=GRAY, arrow=True)
    picture.text(10, 318, "Each value pays its distance to its own end, in any order:", size=14)
    picture.text(10, 340, "the cost and its gradient are the same, O(n) in place of", size=14)
    picture.text(10, 362, "O(n log n). The threshold is searched by counting.", size=14)
    return picture.svg()


def reflections() -> str:
    """A chain of reflections, and the three products that replace it."""
    picture = Picture(400, "A chain of reflections is the product of three matrices")
    picture.text(10, 24, "The chain: each step waits for the one before", weight=600)
    x = 16
    for name in ("x", "H4", "H3", "H2", "H1", "y"):
        last = name in "xy"
        picture.box(x, 40, 44 if last else 58, 44, fill=PAPER if last else PALE_ORANGE, edge=LINE if last else ORANGE)
        picture.text(x + (22 if last else 29), 67, name, anchor="middle")
        x += 44 if last else 58
        if name != "y":
            picture.line((x, 62), (x + 22, 62), color=GRAY, arrow=True)
        x += 24
    picture.text(10, 112, "H_i = I - 2 v_i v_i^T / |v_i|^2, for l vectors of k numbers", size=14, color=GRAY)
    picture.text(10, 160, "The same map: Y = X - X W^T S^-T W", weight=600)

    def matrix(x: float, y: float, width: float, height: float, name: str, shape: str, fill: str, edge: str) -> None:
        picture.box(x, y, width, height, fill=fill, edge=edge)
        picture.text(x + width / 2, y + height / 2 + 5, name, anchor="middle")
        picture.text(x + width / 2, y + height + 18, shape, size=13, color=GRAY, anchor="middle")

    matrix(16, 180, 70, 110, "X", "n x k", PALE_GRAY, LINE)
    picture.text(100, 240, "-", anchor="middle")
    matrix(114, 180, 70, 110, "X", "n x k", PALE_GRAY, LINE)
    matrix(206, 180, 44, 70, "W^T", "k x l", PALE_BLUE, BLUE)
    matrix(294, 180, 44, 44, "", "l x l", PALE_GREEN, GREEN)
    picture.parts.append(f'<path d="M294,180 L338,224 L294,224 z" fill="{GREEN}" fill-opacity="0.35"/>')
    picture.text(316, 206, "S^-T", size=13, anchor="middle")
    matrix(382, 180, 70, 44, "W", "l x k", PALE_BLUE, BLUE)
    for i, x in enumerate((195, 272, 360)):
        picture.text(x, 300, str(i + 1), size=16, color=BLUE, anchor="middle", weight=600)
        picture.line((x, 284), (x, 252 if i else 262), color=BLUE, arrow=True)
    picture.text(10, 340, "Rows of W are v_i / |v_i|; S is the upper triangle of W W^T,", size=14)
    picture.text(10, 360, "its diagonal halved. Three products at the speed of matrix", size=14)
    picture.text(10, 380, "multiplication; the gradient is made of products, too.", size=14)
    return picture.svg()


def multi_index() -> str:
    """Parts of a code, their tables, and the steps of a search."""
    picture = Picture(
        500, "A code is cut into parts with a table each; a search looks up keys that are ever farther from the query's"
    )
    picture.text(10, 24, "A code of 12 bits in three parts, a table each", weight=600)
    for i, (bits, fill) in enumerate((("0110", PALE_BLUE), ("1011", PALE_ORANGE), ("0001", PALE_GREEN))):
        x = 20 + 150 * i
        picture.cells(x, 40, bits, fills={"0": fill, "1": fill})
        picture.line((x + 44, 64), (x + 44, 88), color=GRAY, arrow=True)
        picture.box(x, 90, 118, 92, fill=PAPER)
        picture.text(x + 59, 108, f"table {i}: key, ids", size=13, color=GRAY, anchor="middle")
        for j, entry in enumerate((f"{bits}  7, 31, 90", "...", f"{int(bits, 2) ^ 8:04b}  12, 55")):
            picture.text(x + 10, 130 + 20 * j, entry, size=13, weight=600 if j == 0 else 400)
    picture.text(10, 220, "Steps: the keys at 0 bits in each table, then at 1, then at 2", weight=600)
    for s in range(6):
        r, t = divmod(s, 3)
        x = 20 + 75 * s
        picture.box(x, 236, 68, 66, fill=(PALE_BLUE, PALE_ORANGE, PALE_GREEN)[t])
        picture.text(x + 34, 256, f"step {s}", size=13, anchor="middle", weight=600)
        picture.text(x + 34, 275, f"table {t}", size=13, anchor="middle")
        picture.text(x + 34, 294, f"{(1, 4)[r]} key{'s' if r else ''}", size=13, color=GRAY, anchor="middle")
        picture.text(x + 34, 322, f"d <= {s}", size=13, color=GREEN, anchor="middle", weight=600)
    picture.text(10, 346, "done: after step s every code within distance s is found", size=13, color=GREEN)
    picture.text(10, 384, "Why: a code that steps 0 to 4 have not met differs", size=14)
    picture.text(10, 404, "in 2 bits or more of parts 0 and 1, whose keys at 0 and 1", size=14)
    picture.text(10, 424, "were looked up, and in 1 or more of part 2: in 5 at least.", size=14)
    picture.text(10, 458, "A search for k ends once the k-th code found is at most s", size=14)
    picture.text(10, 478, "away, or turns to the scan where that costs less.", size=14)
    return picture.svg()


PICTURES: dict[str, Callable[[], str]] = {
    "methods": methods,
    "multi-index": multi_index,
    "planes": planes,
    "recall": recall,
    "reflections": reflections,
    "selection": selection,
    "speed": speed,
}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (ROOT / "docs" / "pictures" / f"{name}.svg").write_text(draw())
