"""Statistics of latents and their labels, each with its null: arrays in, numbers out. Nothing here moves a latent."""
