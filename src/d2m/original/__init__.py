"""The reference implementation's checkpoints: read, checked, and turned into a bundle and checkpoints to go on from."""
