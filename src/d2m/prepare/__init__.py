"""From raw recordings to a corpus: pose readers, cleaning, cutting into units, parts, shards, mixing, collecting."""
