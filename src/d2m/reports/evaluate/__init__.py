"""``d2m evaluate``: measures dances of bundles, real dances and baselines by protocol cards."""
