"""What functions and commands call the rules for ties, known without importing torch."""

TIES = ("expected", "optimistic", "pessimistic", "index", "cosine")
