"""Everything that trains: stages, LightningModules, run folder, curriculum, callbacks. W&B only in callbacks."""
