"""Prepared corpora: the file, its splits and normaliser, batches. Making them is :mod:`d2m.prepare`'s job."""
