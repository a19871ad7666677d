"""What settings and commands call the losses, known without importing torch."""

METHODS = {
    name.lower(): name
    for name in (
        "ADSH",
        "CEL",
        "CSQ",
        "DBDH",
        "DCH",
        "DHN",
        "DPSH",
        "DSDH",
        "GreedyHash",
        "HashNet",
        "HyP2",
        "WGLHH",
    )
}
QUANTIZATIONS = ("original", "none", "hswd", "swd")
