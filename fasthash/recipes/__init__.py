"""Reference trainings, one module a family."""
