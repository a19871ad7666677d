"""Networks from items to the real outputs whose signs are the code."""

from fasthash.recipes.networks.backbones import Backbone
from fasthash.recipes.networks.hashing_network import HashingNetwork

__all__ = ["Backbone", "HashingNetwork"]
