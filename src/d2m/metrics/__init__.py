"""Metrics of dances and classifiers: pure functions of arrays or tensors, each with its unit and source."""
