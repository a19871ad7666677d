"""Losses of learning to hash, as torch modules."""

from fasthash.losses.adsh import ADSH
from fasthash.losses.base import HashingLoss
from fasthash.losses.cel import CEL
from fasthash.losses.csq import CSQ, hash_centers
from fasthash.losses.dbdh import DBDH
from fasthash.losses.dch import DCH
from fasthash.losses.dhn import DHN
from fasthash.losses.dpsh import DPSH
from fasthash.losses.dsdh import DSDH
from fasthash.losses.greedyhash import GreedyHash
from fasthash.losses.hashnet import HashNet
from fasthash.losses.hyp2 import HyP2
from fasthash.losses.quantization import (
    HSWD,
    BitBalance,
    LogCosh,
    MagnitudeError,
    OptimalTransport,
    SlicedWasserstein,
)
from fasthash.losses.wglhh import WGLHH

__all__ = [
    "ADSH",
    "CEL",
    "CSQ",
    "DBDH",
    "DCH",
    "DHN",
    "DPSH",
    "DSDH",
    "HSWD",
    "WGLHH",
    "BitBalance",
    "GreedyHash",
    "HashNet",
    "HashingLoss",
    "HyP2",
    "LogCosh",
    "MagnitudeError",
    "OptimalTransport",
    "SlicedWasserstein",
    "hash_centers",
]
