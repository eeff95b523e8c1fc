"""Dances for other programs: depth, bones, and file formats. Arrays in, files out."""
