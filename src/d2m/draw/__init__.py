"""Pictures: skeletons, videos with sound, plots. Arrays in, files out; what they mean is said in :mod:`d2m.reports`."""
