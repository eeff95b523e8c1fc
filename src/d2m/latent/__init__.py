"""Directions, edits and readings of z_dan: arrays in, arrays out; knows neither Lightning nor W&B."""
