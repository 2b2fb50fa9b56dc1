"""Graphite's reading side over our series: targets, times, functions, and the shapes its clients expect."""
