"""``hanline review``: serves a page on which a person corrects readings."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from hanline.cli.hydra_app import run
from hanline.commands.reading import ReaderSettings, make_reader
from hanline.errors import HanlineError

_NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


@dataclass
class Settings(ReaderSettings):
    """The keys of ``conf/review.yaml``."""

    input: str | None
    labels: str | None
    output: str
    host: str
    port: int
    hosts: list[str]
    validation: float
    queue: int
    upload_mb: int


def main() -> None:
    """Compose the configuration and serve."""
    run("review", Settings, review)


def review(config: DictConfig) -> None:
    """Serve until a signal comes."""
    missing = [name for module, name in _NEEDED.items() if not importlib.util.find_spec(module)]
    if missing:
        raise HanlineError(
            f"hanline review: expected {', '.join(missing)} to be installed. Run "
            'pip install "hanline[review]"; in a checkout, pip install -e ".[review]"'
        )
    _check(config)
    from hanline.review.serving import serve

    serve(
        make_reader(config),
        Path(config.input) if config.input else None,
        Path(config.labels) if config.labels else None,
        Path(config.output),
        config.host,
        config.port,
        [*config.hosts],
        config.validation,
        config.queue,
        config.upload_mb,
    )


def _check(config: DictConfig) -> None:
    if not 0 <= config.port < 2**16:
        raise HanlineError(f"port={config.port}: expected 0 to 65535. Choose one")
    if not 0 <= config.validation < 1:
        raise HanlineError(f"validation={config.validation}: expected 0 to below 1. Choose a share")
    for key in ("queue", "upload_mb"):
        if config[key] < 1:
            raise HanlineError(f"{key}={config[key]}: expected a positive number. Set one")


if __name__ == "__main__":
    main()
