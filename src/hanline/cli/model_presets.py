"""Presets of the group ``model``: each combination of its stages, and the papers' names.

A preset is named by its four stages, as in ``tps_resnet_bilstm_attn``. The names follow from the
files in ``conf/model/<stage>/``, so that a new stage has its presets at once. No preset has a file.
The architectures of papers are those of Baek et al., "What Is Wrong With Scene Text Recognition
Model Comparisons? Dataset and Model Analysis", ICCV 2019, table 8, and those whose stages came
after it.
"""

import itertools

from hydra.core.config_store import ConfigStore

from hanline.configs import STAGES, choices, load

# The placeholder for all combinations of stages where the names of presets are listed.
STAGES_PRESET = "STAGES"
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
        "none_parseq_tiny_none_parseq_tiny",
    ),
    "parseq": ("PARSeq (Bautista and Atienza, ECCV 2022)", "none_parseq_none_parseq"),
    "svtrv2_tiny": ("SVTRv2-Tiny (Du et al., ICCV 2025)", "none_svtrv2_tiny_none_ctc"),
    "svtrv2_small": ("SVTRv2-Small (Du et al., ICCV 2025)", "none_svtrv2_small_none_ctc"),
    "svtrv2_base": ("SVTRv2-Base (Du et al., ICCV 2025)", "none_svtrv2_base_none_ctc"),
}


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


def register_presets() -> None:
    """Have Hydra know the presets in this process, and in those that its launchers start."""
    for name, stages in presets().items():
        defaults = [{stage: choice} for stage, choice in stages.items()]
        ConfigStore.instance().store(name=name, node={"defaults": defaults}, group="model")
