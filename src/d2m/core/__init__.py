"""Shared basics: the skeleton and its clock, Gaussians, errors, atomic files, seeds, the machine."""
