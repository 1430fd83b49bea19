"""Training: the LightningModule, the trainer, callbacks, schedulers and starting weights."""
