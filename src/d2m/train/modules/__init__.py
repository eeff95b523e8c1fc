"""One LightningModule per stage: which networks are trained, with which losses and updates."""
