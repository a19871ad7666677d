from .encoding import encode_files
from .folders import CodePart, EncodedFolder, Manifest, Shard
from .index import ShardedIndex
from .pairs import PairFiles
from .questions import PartialHits, PartialRadiusHits

__all__ = [
    "CodePart",
    "EncodedFolder",
    "Manifest",
    "PairFiles",
    "PartialHits",
    "PartialRadiusHits",
    "Shard",
    "ShardedIndex",
    "encode_files",
]
