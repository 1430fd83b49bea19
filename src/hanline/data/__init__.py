"""Images on disk ↔ batches: LMDB sets, image folders, and the LightningDataModule."""
