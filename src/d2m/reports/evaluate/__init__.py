"""``d2m evaluate``: dances of bundles, of the real dancers and of baselines through the protocol cards."""
