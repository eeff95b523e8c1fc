"""Numbers about dances and classifiers: pure functions of arrays or tensors, each with unit and source."""
