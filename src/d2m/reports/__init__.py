"""Analyses of dances and latents ("readings"), evaluation, and the pages that show them."""
