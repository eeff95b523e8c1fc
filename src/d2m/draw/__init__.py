"""Pictures: skeletons, videos with sound, plots. Arrays in, files out; :mod:`d2m.reports` interprets them."""
