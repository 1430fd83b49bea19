"""An exponential moving average of the weights."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hanline.errors import HanlineError


class ExponentialMovingAverage(WeightAveraging):
    """Average the weights of all steps, and validate with the average.

    Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.

    A checkpoint's ``state_dict`` is the average: a reader takes it. The raw weights are beside it
    as ``current_model_state``: a resumed run goes on with both. Buffers, for example the statistics
    of batch normalization, are averaged too.

    Args:
        decay: the share of the former average that a step keeps. In the first steps it is
            (1 + n) / (10 + n) after n steps, if that is less.

    Raises:
        HanlineError: decay is out of range.
    """

    def __init__(self, decay: float) -> None:
        if not 0 < decay < 1:
            raise HanlineError(f"callbacks.ema.decay={decay}: expected a number between 0 and 1")
        super().__init__(multi_avg_fn=self._average)
        self.decay = decay

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the raw weights in place, so that a state saved now can be resumed."""

    def _average(self, averages: Any, currents: Any, number: Tensor | int) -> None:
        # Not `number`, which lies on the device: the host would wait for it.
        steps = self._latest_update_step
        decay = min(self.decay, (1 + steps) / (10 + steps))
        get_ema_multi_avg_fn(decay)(averages, currents, number)
