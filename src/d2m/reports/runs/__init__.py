"""Runs of ``d2m train`` on disk, listed, chosen and compared while they train and afterwards; nothing is written."""
