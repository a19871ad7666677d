from .adsh import ADSH
from .base import HashingLoss
from .cel import CEL
from .csq import CSQ, hash_centers
from .dbdh import DBDH
from .dch import DCH
from .dhn import DHN
from .dpsh import DPSH
from .dsdh import DSDH
from .greedyhash import GreedyHash
from .hashnet import HashNet
from .hyp2 import HyP2
from .names import LOSSES
from .quantization import (
    HSWD,
    BitBalance,
    LogCosh,
    MagnitudeError,
    OptimalTransport,
    SlicedWasserstein,
)
from .wglhh import WGLHH

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
    "LOSSES",
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
