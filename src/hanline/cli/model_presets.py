"""Presets of the group ``model``: each combination of its stages, and the papers' names.

A preset is named by its four stages, as in ``tps_resnet_bilstm_attn``. The names follow from the
files in ``conf/model/<stage>/``, so that a new stage has its presets at once. No preset has a file.
The architectures of papers are those of Baek et al., "What Is Wrong With Scene Text Recognition
Model Comparisons? Dataset and Model Analysis", ICCV 2019, table 8, and those whose stages came
after it.
"""

import itertools
from functools import cache

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from hanline.configs import STAGES, choices, load

# The placeholder for all combinations of stages where the names of presets are listed.
STAGES_PRESET = "STAGES"
# The group of the presets.
_GROUP = "model"
# The name of each architecture: its paper, and its preset.
PAPERS = {
    "crnn": ("CRNN (Shi et al., TPAMI 2017)", "none_vgg_bilstm_ctc"),
    "r2am": ("R2AM (Lee and Osindero, CVPR 2016)", "none_rcnn_none_attn"),
    "grcnn": ("GRCNN (Wang and Hu, NIPS 2017)", "none_rcnn_bilstm_ctc"),
    "rosetta": ("Rosetta (Borisyuk et al., KDD 2018)", "none_resnet_none_ctc"),
    "rare": ("RARE (Shi et al., CVPR 2016)", "tps_vgg_bilstm_attn"),
    "star_net": ("STAR-Net (Liu et al., BMVC 2016)", "tps_resnet_bilstm_ctc"),
    "trba": ("TRBA, the best of Baek et al. (ICCV 2019)", "tps_resnet_bilstm_attn"),
    "svtr_tiny": ("SVTR-Tiny (Du et al., IJCAI 2022)", "none_svtr_tiny_none_ctc"),
    "svtr_small": ("SVTR-Small (Du et al., IJCAI 2022)", "none_svtr_small_none_ctc"),
    "svtr_base": ("SVTR-Base (Du et al., IJCAI 2022)", "none_svtr_base_none_ctc"),
    "vitstr": ("ViTSTR (Atienza, ICDAR 2021)", "none_vitstr_none_vitstr"),
    "parseq_tiny": (
        "PARSeq-tiny (Bautista and Atienza, ECCV 2022)",
        "none_parseq_tiny_none_parseq",
    ),
    "parseq": ("PARSeq (Bautista and Atienza, ECCV 2022)", "none_parseq_none_parseq"),
    "svtrv2_tiny": ("SVTRv2-Tiny (Du et al., ICCV 2025)", "none_svtrv2_tiny_none_ctc"),
    "svtrv2_small": ("SVTRv2-Small (Du et al., ICCV 2025)", "none_svtrv2_small_none_ctc"),
    "svtrv2_base": ("SVTRv2-Base (Du et al., ICCV 2025)", "none_svtrv2_base_none_ctc"),
}


@cache
def presets() -> dict[str, dict[str, str]]:
    """Return the choice for each stage of all presets, by their names."""
    combinations = itertools.product(*(choices(f"model/{stage}") for stage in STAGES))
    named = {"_".join(chosen): dict(zip(STAGES, chosen, strict=True)) for chosen in combinations}
    return named | {paper: named[preset] for paper, (_, preset) in PAPERS.items()}


def named_presets() -> list[str]:
    """Return the presets with a name of their own: the files of ``conf/model``, and the papers."""
    return sorted({*choices("model"), *PAPERS})


def stages_of(name: str) -> dict[str, str]:
    """Return the choice for each stage of a preset, or of a file in ``conf/model``.

    A file that chooses no stages has none here.
    """
    files = choices("model")
    if name not in files:
        return presets().get(name, {})
    chosen: dict[str, str] = {}
    for entry in load(files[name]).get("defaults", []):
        if isinstance(entry, dict):
            chosen |= {key.removeprefix("override "): choice for key, choice in entry.items()}
        elif entry != "_self_":
            chosen |= stages_of(entry)
    return {stage: chosen[stage] for stage in STAGES if stage in chosen}


class PresetSource(ConfigSource):
    """The presets as files of Hydra, each made when it is asked for: there are a thousand."""

    @staticmethod
    def scheme() -> str:
        """Return what the search path calls this source by."""
        return "presets"

    def available(self) -> bool:
        """Return whether there is anything to read."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Return whether a path is the group of the presets."""
        return config_path in ("", _GROUP)

    def is_config(self, config_path: str) -> bool:
        """Return whether a path is a preset."""
        return bool(self._stages(config_path))

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a preset: the choice of each stage."""
        stages = self._stages(config_path)
        if not stages:
            raise ConfigLoadError(f"Config not found: {config_path}")
        content = OmegaConf.create({"defaults": [{s: c} for s, c in stages.items()]})
        return ConfigResult(
            provider=self.provider,
            path=f"{self.scheme()}://{self.path}",
            config=content,
            header={"package": None},
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names of all presets."""
        if config_path == "":
            return [] if results_filter == ObjectType.CONFIG else [_GROUP]
        if config_path != _GROUP or results_filter == ObjectType.GROUP:
            return []
        return sorted(presets())

    def _stages(self, config_path: str) -> dict[str, str]:
        group, _, name = config_path.removesuffix(".yaml").rpartition("/")
        return presets().get(name, {}) if group == _GROUP else {}


class PresetPath(SearchPathPlugin):
    """Have Hydra search the presets, after all files."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the source of the presets."""
        search_path.append("hanline.presets", f"{PresetSource.scheme()}://hanline")


def register_presets() -> None:
    """Have Hydra know the presets in this process, and in those that its launchers start."""
    for plugin in (PresetSource, PresetPath):
        Plugins.instance().register(plugin)
