"""What the tables of domain adaptation share: both domains as a training sees them, and ITQ beside it."""

from __future__ import annotations

from torch import nn

from benchmarks.papers.grid import Grid
from fasthash.data import Dataset
from fasthash.evaluate import mean_average_precision
from fasthash.hashers import ITQ
from fasthash.recipes import IGANSettings
from fasthash.recipes.batches import Loaded
from fasthash.recipes.evaluation import network_outputs
from fasthash.recipes.igan.domains import comparable
from fasthash.recipes.networks import HashingNetwork
from fasthash.recipes.protocols import Parts, split

Domains = list[tuple[Dataset, Parts]]


def domains_of(grid: Grid, settings: IGANSettings) -> Domains:
    """Source and target of some settings, each with its parts."""
    loaded = (grid.options.load(name) for name in (settings.source, settings.target))
    both = comparable(*loaded, settings.image_size)
    return [(x, split(x, settings.protocol, settings.split_seed)) for x in both]


def with_itq(domains: Domains, settings: IGANSettings, encoder: HashingNetwork) -> dict[str, float]:
    """What ITQ retrieves on the hidden features of a network trained on the source alone."""
    (ours, parts), (theirs, their_parts) = domains
    chosen = (ours, parts.train), (theirs, their_parts.query), (theirs, their_parts.database), (ours, parts.database)
    train, *asked_and_searched = (Loaded(x.items, x.labels, positions) for x, positions in chosen)
    encoder.head = nn.Identity()
    hasher = ITQ(settings.bits, random_state=settings.seed).fit(network_outputs(encoder, train))
    query, *searched = ((hasher.encode(network_outputs(encoder, x)), x.labels) for x in asked_and_searched)
    maps = (mean_average_precision(*query, *database) for database in searched)
    return dict(zip(("mAP", "mAP_in_source"), maps, strict=True))
