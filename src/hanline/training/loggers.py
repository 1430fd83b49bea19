"""Loggers whose packages are not installed with Hanline."""

import os
from importlib.util import find_spec
from pathlib import Path

from pytorch_lightning.loggers import Logger

from hanline.errors import HanlineError


def wandb(run_dir: str, project: str, name: str | None, offline: bool) -> Logger:
    """Return a logger of Weights & Biases; see ``conf/logger/wandb.yaml``.

    Raises:
        HanlineError: the package wandb is not installed.
    """
    _require("wandb", "wandb")
    from pytorch_lightning.loggers import WandbLogger

    Path(run_dir).mkdir(parents=True, exist_ok=True)
    return WandbLogger(name=name, project=project, save_dir=run_dir, offline=offline)


def mlflow(tracking_uri: str, experiment: str, name: str | None) -> Logger:
    """Return a logger of MLflow; see ``conf/logger/mlflow.yaml``.

    Raises:
        HanlineError: neither mlflow nor mlflow-skinny is installed.
    """
    _require("mlflow", "mlflow")
    if tracking_uri.startswith("file:"):
        # MLflow 3.17 refuses a folder without it. A database needs the whole of mlflow.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from pytorch_lightning.loggers import MLFlowLogger

    return MLFlowLogger(experiment_name=experiment, run_name=name, tracking_uri=tracking_uri)


def _require(choice: str, package: str) -> None:
    if find_spec(package) is None:
        raise HanlineError(
            f"logger={choice}: expected the package {package} to be installed. "
            f"Run: pip install {package}"
        )
