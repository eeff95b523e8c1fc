"""Directions and edits of z_dan: arrays in, arrays out; knows neither Lightning nor W&B."""
