"""From raw recordings to a corpus: sources of poses, cleaning, units, parts, shards, mixing, collecting."""
