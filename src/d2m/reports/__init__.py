"""Readings, what is written about dances and latents, and the pages that show them."""
