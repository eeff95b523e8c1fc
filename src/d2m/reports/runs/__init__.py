"""Lists, filters, ranks and compares the runs of ``d2m train`` on disk, during training and after; read-only."""
