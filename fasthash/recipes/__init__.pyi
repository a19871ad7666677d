from . import autoencoder, igan, networks, protocols, settings, sgh, ssdh, supervised

__all__ = [
    "autoencoder",
    "igan",
    "networks",
    "protocols",
    "settings",
    "sgh",
    "ssdh",
    "supervised",
]
