"""Faults injected on purpose, each written down as ground truth: diagnosis is scored against it."""
