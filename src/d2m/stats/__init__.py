"""Statistics of latents and labels, each with its null distribution: arrays in, numbers out; no edits."""
