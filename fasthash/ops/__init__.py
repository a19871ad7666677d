"""Stateless functions of tensors, one room an op; see the README in each."""
