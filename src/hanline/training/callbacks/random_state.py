"""The state of the random numbers, kept in checkpoints."""

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch


class RandomState(pl.Callback):
    """Keep the random numbers' state in checkpoints, so that a resumed run goes on with them."""

    def __init__(self) -> None:
        self._resumed: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values and tensors, which load without unpickling code."""
        name, keys, position, has_gauss, cached = np.random.get_state()
        return {
            "python": random.getstate(),
            "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, cached],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a state until training starts."""
        self._resumed = state_dict

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the state: only now, since setting up model and loaders takes random numbers."""
        if self._resumed is None:
            return
        random.setstate(self._resumed["python"])
        np.random.set_state(tuple(self._resumed["numpy"]))
        torch.set_rng_state(self._resumed["torch"].cpu())
        if torch.cuda.is_available() and self._resumed["cuda"]:
            torch.cuda.set_rng_state_all([state.cpu() for state in self._resumed["cuda"]])
        self._resumed = None
