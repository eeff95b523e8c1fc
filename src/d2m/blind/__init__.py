"""Blind studies: a page on which people judge dances without knowing who made them, and what their answers say.

Files in, files out; dances are drawn by :mod:`d2m.draw`, and what numbers say of dances is in :mod:`d2m.metrics`.
"""
