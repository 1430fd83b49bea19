"""Keys and choices that had other names in earlier versions of Hanline."""

from collections.abc import Collection

from hanline.configs import choices

# The last part of a key: what it was, and what it is.
KEYS = {
    "blurred": "blur_probability",
    "bold": "bold_probability",
    "colored": "color_probability",
    "compressed": "jpeg_probability",
    "dataset": "input",
    "drawn_dir": "rendered_dir",
    "emboldened": "bold_probability",
    "figure": "metric",
    "file": "input",
    "fold_case": "lowercase",
    "fonts_without": "exclude_fonts",
    "full_height": "full_height_probability",
    "graded": "gradient_probability",
    "gt": "input",
    "image_dir": "input",
    "least_contrast": "min_contrast",
    "light_on_dark": "light_on_dark_probability",
    "noisy": "noise_probability",
    "outlined": "outline_probability",
    "output_dir": "output",
    "quality": "jpeg_quality",
    "ready_pixels": "cache_pixels",
    "rescaled": "rescale_probability",
    "schedule": "scheduler",
    "shadowed": "shadow_probability",
    "slanted": "slant_probability",
    "source": "format",
    "straighten": "deskew",
    "strongly_blurred": "strong_blur_probability",
    "tapered": "taper_probability",
    "thickness": "bold_thickness",
    "tilt": "rotation_degrees",
    "tilt_below": "rotation_below_characters",
    "tilt_probability": "rotation_probability",
    "turn": "rotation_degrees",
    "turned": "rotation_probability",
    "unfit_labels": "invalid_labels",
    "wave": "wave_height",
    "waved": "wave_probability",
    "widely_margined": "wide_margin_probability",
}
# Keys that have moved to another place.
MOVED = {
    "data.train_dir": "data.train.dir",
    "data.validation_dir": "data.validation.dir",
    "data.train_samples": "data.train.samples",
    "data.validation_samples": "data.validation.samples",
    "data.select_data": "data.train.select_data",
    "data.batch_ratio": "data.train.batch_ratio",
    "data.total_data_usage_ratio": "data.train.usage_ratio",
    "data.texts": "data.train.texts",
    "data.min_words": "corpus.min_words",
    "data.max_words": "corpus.max_words",
}
# Whole groups, with all keys below them.
GROUPS = {"schedule": "scheduler", "synthesis.renderer": "renderer", "synthesis": "renderer"}
CHOICES = {"headline": "varied"}


def new_key(key: str, known: Collection[str]) -> str | None:
    """Return the name that a dotted key has now, or None if it was not renamed.

    Args:
        key: the unknown key.
        known: the keys of the command. A name that is not among them is not the key's.
    """
    moved = [
        f"{now}{key.removeprefix(was)}"
        for was, now in GROUPS.items()
        if key == was or key.startswith(f"{was}.")
    ]
    moved.append(MOVED.get(key, key))
    candidates = [*moved, *(_with_new_last_part(place) for place in [key, *moved])]
    return next((name for name in candidates if name != key and name in known), None)


def new_choice(group: str, choice: str) -> str | None:
    """Return the ``group=choice`` that takes the place of a choice that does not exist any more."""
    group_now = GROUPS.get(group.replace("/", "."))
    choice_now = CHOICES.get(choice, choice)
    if group_now and choice_now in choices(group_now):
        return f"{group_now}={choice_now}"
    return None


def _with_new_last_part(key: str) -> str:
    group, dot, last = key.rpartition(".")
    return f"{group}{dot}{KEYS.get(last, last)}"
