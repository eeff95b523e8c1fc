"""The latent laboratory on the command line."""
