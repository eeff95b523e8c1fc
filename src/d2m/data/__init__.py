"""Prepared corpora: files, splits, normaliser, batches. Corpora are made by :mod:`d2m.prepare`."""
