"""Domain-adaptive hashing (IGAN): its model, losses, pairs of domains, and training."""
