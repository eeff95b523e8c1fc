"""One LightningModule per stage: what is trained, by which losses and updates."""
