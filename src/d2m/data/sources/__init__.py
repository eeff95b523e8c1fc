"""One module per file format of poses; each returns a :class:`d2m.data.sources.npz.PoseSequence`."""
