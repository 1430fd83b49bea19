"""Keys and choices that had other names in earlier versions of Hanline."""

from collections.abc import Collection

from hanline.configs import choices

# The last part of a key: what it was, and what it is.
KEYS = {
    "dataset": "input",
    "drawn_dir": "rendered_dir",
    "figure": "metric",
    "file": "input",
    "fold_case": "lowercase",
    "fonts_without": "exclude_fonts",
    "gt": "input",
    "image_dir": "input",
    "output_dir": "output",
    "ready_pixels": "cache_pixels",
    "schedule": "scheduler",
    "source": "format",
    "straighten": "deskew",
    "unfit_labels": "invalid_labels",
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
    candidates = [
        f"{now}{key.removeprefix(was)}"
        for was, now in GROUPS.items()
        if key == was or key.startswith(f"{was}.")
    ]
    candidates.append(MOVED.get(key, key))
    group, dot, last = key.rpartition(".")
    candidates.append(f"{group}{dot}{KEYS.get(last, last)}")
    return next((name for name in candidates if name != key and name in known), None)


def new_choice(group: str, choice: str) -> str | None:
    """Return the ``group=choice`` that takes the place of a choice that does not exist any more."""
    group_now = GROUPS.get(group.replace("/", "."))
    choice_now = CHOICES.get(choice, choice)
    if group_now and choice_now in choices(group_now):
        return f"{group_now}={choice_now}"
    return None
