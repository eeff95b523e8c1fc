"""The reference implementation's checkpoints: read, checked, and converted to a bundle and checkpoints."""
