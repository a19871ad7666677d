from typing import Any

from numpy import bool_, float32, float64, int32, int64, uint8
from numpy.typing import NDArray

__version__: str

def built_isas() -> list[str]: ...
def runnable_isas() -> list[str]: ...
def active_isa() -> str: ...
def room_level(room: str, isa: str = "") -> str: ...
def default_threads() -> int: ...
def cpu_quota(root: str) -> float: ...
def processors(quota: float) -> int: ...
def pack_bits(x: NDArray[Any], element: str, out: NDArray[uint8], threads: int, isa: str) -> bool: ...
def pack_projections(
    x: NDArray[Any], projection: NDArray[Any], offset: NDArray[Any] | None, out: NDArray[uint8], threads: int, isa: str
) -> int: ...
def two_point_cost(
    x: NDArray[Any],
    n_low: NDArray[int64],
    split: float,
    low: float,
    high: float,
    p: float,
    gradient: NDArray[Any] | None,
    scale: float,
    threads: int,
    isa: str,
) -> float: ...
def sorted_cost(
    x: NDArray[Any],
    y: NDArray[Any],
    p: float,
    gradient_x: NDArray[Any] | None,
    gradient_y: NDArray[Any] | None,
    scale: float,
    threads: int,
) -> float: ...
def householder_apply(
    x: NDArray[Any] | None,
    v: NDArray[Any],
    transpose: bool,
    y: NDArray[Any],
    q: NDArray[Any],
    s_inverse: NDArray[Any],
    threads: int,
    isa: str,
) -> None: ...
def householder_backward(
    dy: NDArray[Any],
    x: NDArray[Any] | None,
    v: NDArray[Any],
    q: NDArray[Any],
    s_inverse: NDArray[Any],
    transpose: bool,
    dx: NDArray[Any] | None,
    dv: NDArray[Any],
    threads: int,
    isa: str,
) -> None: ...
def hamming_distance(
    queries: NDArray[uint8], codes: NDArray[uint8], distances: NDArray[int32], threads: int, isa: str
) -> None: ...
def hamming_topk(
    queries: NDArray[uint8],
    codes: NDArray[uint8],
    k: int,
    mask: NDArray[uint8] | None,
    distances: NDArray[int32],
    ids: NDArray[int64],
    threads: int,
    isa: str,
    max_distance: int = ...,
) -> None: ...
def hamming_radius(
    queries: NDArray[uint8], codes: NDArray[uint8], radius: int, mask: NDArray[uint8] | None, threads: int, isa: str
) -> tuple[NDArray[int64], NDArray[int32], NDArray[int64]]: ...
def asymmetric_topk(
    projections: NDArray[Any],
    codes: NDArray[uint8],
    k: int,
    bits: int,
    mask: NDArray[uint8] | None,
    factors: NDArray[float32] | None,
    offsets: NDArray[float32] | None,
    scores: NDArray[Any],
    ids: NDArray[int64],
    threads: int,
    isa: str,
) -> int: ...
def block_shape(n_bits: int) -> tuple[int, int]: ...
def write_planes(planes: NDArray[uint8], codes: NDArray[uint8], first: int, threads: int, isa: str) -> None: ...
def read_planes(planes: NDArray[uint8], first: int, codes: NDArray[uint8], threads: int, isa: str) -> None: ...
def gather_planes(planes: NDArray[uint8], positions: NDArray[int64], codes: NDArray[uint8], threads: int) -> None: ...
def planes_topk(
    queries: NDArray[uint8],
    planes: NDArray[uint8],
    n: int,
    k: int,
    mask: NDArray[uint8] | None,
    distances: NDArray[int32],
    ids: NDArray[int64],
    threads: int,
    isa: str,
    max_distance: int = ...,
) -> None: ...
def asymmetric_planes_topk(
    projections: NDArray[Any],
    planes: NDArray[uint8],
    n: int,
    k: int,
    bits: int,
    mask: NDArray[uint8] | None,
    scores: NDArray[Any],
    ids: NDArray[int64],
    threads: int,
    isa: str,
) -> int: ...
def planes_radius(
    queries: NDArray[uint8],
    planes: NDArray[uint8],
    n: int,
    radius: int,
    mask: NDArray[uint8] | None,
    threads: int,
    isa: str,
) -> tuple[NDArray[int64], NDArray[int32], NDArray[int64]]: ...
def distance_counts(
    queries: NDArray[uint8],
    codes: NDArray[uint8],
    query_labels: NDArray[int32],
    labels: NDArray[int32],
    shared: bool,
    totals: NDArray[int64],
    relevants: NDArray[int64],
    threads: int,
    isa: str,
) -> None: ...
def relevance_by_place(
    queries: NDArray[uint8],
    codes: NDArray[uint8],
    query_labels: NDArray[int32],
    labels: NDArray[int32],
    shared: bool,
    query_vectors: NDArray[Any] | None,
    vectors: NDArray[Any] | None,
    scales: NDArray[float64] | None,
    k: int,
    within: int,
    own: int,
    bits: NDArray[uint8],
    threads: int,
    isa: str,
) -> None: ...
def average_precision(
    bits: NDArray[uint8], found: NDArray[int64], precisions: NDArray[float64], threads: int
) -> None: ...
def weight_by_place(bits: NDArray[uint8], weights: NDArray[float64], sums: NDArray[float64], threads: int) -> None: ...
def id_map_insert(
    table: NDArray[int64],
    ids: NDArray[int64],
    first: int,
    live: NDArray[uint8] | None,
    kept: NDArray[uint8] | None,
    isa: str,
) -> int: ...
def id_map_find(
    table: NDArray[int64],
    ids: NDArray[int64],
    live: NDArray[uint8] | None,
    sought: NDArray[int64],
    positions: NDArray[int64],
    threads: int,
    isa: str,
) -> None: ...

class MultiIndexTables:
    def __init__(self, codes: NDArray[uint8], n_bits: int, n_tables: int, fast: bool, threads: int) -> None: ...
    def topk(
        self,
        queries: NDArray[uint8],
        codes: NDArray[uint8],
        k: int,
        mask: NDArray[uint8] | None,
        max_candidates: int,
        distances: NDArray[int32],
        ids: NDArray[int64],
        complete: NDArray[bool_] | None,
        threads: int,
        isa: str,
        max_distance: int = ...,
    ) -> None: ...
    def radius(
        self,
        queries: NDArray[uint8],
        codes: NDArray[uint8],
        radius: int,
        mask: NDArray[uint8] | None,
        threads: int,
        isa: str,
    ) -> tuple[NDArray[int64], NDArray[int32], NDArray[int64]]: ...
    max_codes: int
    def probes(self, radius: int) -> float: ...
    @property
    def n_codes(self) -> int: ...
    @property
    def memory(self) -> int: ...
    @property
    def keys(self) -> list[tuple[int, int]]: ...
    @staticmethod
    def cost_of_build(n_codes: int, n_bytes: int, n_bits: int, n_tables: int, fast: bool, threads: int) -> float: ...
    @staticmethod
    def cost_of_scan(n_codes: int, n_bytes: int, n_queries: int, threads: int) -> float: ...

class H2QTrainer:
    def __init__(
        self,
        x: NDArray[float32],
        held_out: NDArray[float32],
        v: NDArray[float32],
        loss: str,
        optimizer: str,
        rate: float,
        cosine: bool,
        renormalize: bool,
        epochs: int,
        batch_size: int,
        patience: int,
        seed: int,
        isa: str = "",
    ) -> None: ...
    def train(self, epochs: int, threads: int = 0) -> None: ...
    @property
    def finished(self) -> bool: ...
    def history(self, run: int) -> NDArray[float64]: ...
    def best(self, run: int) -> NDArray[float32]: ...

class PairSearch:
    def __init__(
        self,
        codes: NDArray[uint8],
        others: NDArray[uint8] | None,
        mask: NDArray[uint8] | None,
        radius: int,
        since: int,
        first: int,
        capacity: int,
        n_parts: int,
        threads: int,
        isa: str,
    ) -> None: ...
    max_codes: int
    @property
    def first(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def share_done(self) -> float: ...
    @property
    def n_parts(self) -> int: ...
    def step(self) -> bool: ...
    def take(self) -> tuple[NDArray[int64], NDArray[int64], NDArray[int32]]: ...
