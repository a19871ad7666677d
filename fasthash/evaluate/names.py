"""What functions and commands call the rules for ties and for queries, known without importing torch."""

TIES = ("expected", "optimistic", "pessimistic", "index", "cosine", "inner_product")
BY_EMBEDDINGS = ("cosine", "inner_product")
UNANSWERED = ("zero", "skip", "skip_unfound")
