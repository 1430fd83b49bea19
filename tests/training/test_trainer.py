"""The trainer, with the settings of its configuration."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[2]


@pytest.fixture
def torch_left_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False


def test_what_has_no_deterministic_way_is_used_all_the_same(
    torch_left_alone: None, tmp_path: Path
) -> None:
    config = OmegaConf.load(ROOT / "conf" / "trainer" / "default.yaml")
    config.accelerator, config.precision, config.deterministic = "cpu", "32-true", True
    instantiate(config, run_dir=tmp_path, callbacks=[], loggers=[])
    assert torch.are_deterministic_algorithms_enabled()
    with pytest.warns(UserWarning, match="does not have a deterministic implementation"):
        torch.ones(4).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)
