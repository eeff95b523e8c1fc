"""Blind studies: a page on which people judge dances without knowing what made them, and scores of their answers.

Files in, files out; dances are drawn by :mod:`d2m.draw`; metrics of dances are in :mod:`d2m.metrics`.
"""
