"""Dances for other programs: depth, bones, and writers of the formats that these read. Arrays in, files out."""
