"""From recordings on disk to normalised batches on the device."""
