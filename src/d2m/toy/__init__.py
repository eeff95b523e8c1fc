"""The embedded corpus: procedurally generated songs and dances with known beats, genre and energy.

`write_corpus` writes a raw folder in the same layout as real data, so that the same reader reads both.
"""

from d2m.toy.genres import ENERGETIC, FLOWING, GENRES
from d2m.toy.write import VERSION, make_pair, write_corpus

__all__ = ["ENERGETIC", "FLOWING", "GENRES", "VERSION", "make_pair", "write_corpus"]
