"""``hanline calibrate``: makes confidences the chances that readings are right."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from hanline.cli.hydra_app import run
from hanline.commands.reading import ReaderSettings, make_reader
from hanline.errors import HanlineError
from hanline.formats.record import measured
from hanline.formats.registry import format_of
from hanline.inference.calibrating import measure
from hanline.models.recognizer import Recognizer
from hanline.pretrained import model_path


@dataclass
class Settings(ReaderSettings):
    """The keys of ``conf/calibrate.yaml``."""

    dataset: str
    output: str | None


def main() -> None:
    """Compose the configuration and calibrate."""
    run("calibrate", Settings, calibrate)


def calibrate(config: DictConfig) -> None:
    """Read the dataset, and write the model's file with what was measured.

    Raises:
        HanlineError: the format keeps no measurements, or the dataset has nothing to learn from.
    """
    checkpoint = model_path(config.checkpoint)
    reader = make_reader(config, calibrated=False)
    output = Path(config.output) if config.output else _beside(config.checkpoint, checkpoint)
    if output.suffix != checkpoint.suffix:
        raise HanlineError(
            f"output={output}: expected the suffix of the checkpoint, {checkpoint.suffix}. Give it"
        )
    found = measure(reader, Path(config.dataset))
    kept = reader.recognizer.delay if isinstance(reader.recognizer, Recognizer) else 0.0
    delay = kept if found.delay is None else found.delay
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        files = format_of(checkpoint).save_measured(
            checkpoint, output, measured(found.scale, delay)
        )
    except OSError as error:
        raise HanlineError(
            f"output={output}: expected a place to write to, but {error.strerror}. Make room, or "
            "name another file"
        ) from error
    lines = sum(row.samples for row in found.before.bins)
    print(
        f"{lines} lines, {100 - found.before.risk[100]:.1f} % right; expected calibration error "
        f"{found.before.error:.2f} points before, {found.after.error:.2f} after, each half of the "
        "lines by the other half"
    )
    print(
        f"of the wrong lines {found.before.found:.1f} % were among the 10 % least sure before, "
        f"{found.after.found:.1f} % after"
    )
    if found.delay is not None:
        print(f"characters are written {found.delay:.3f} heights of a line to the right")
    print("written: " + ", ".join(map(str, files)))


def _beside(name: str, checkpoint: Path) -> Path:
    calibrated = f"{checkpoint.stem}_calibrated{checkpoint.suffix}"
    # Nothing is written beside a model that comes with Hanline.
    return checkpoint.with_name(calibrated) if Path(name) == checkpoint else Path(calibrated)


if __name__ == "__main__":
    main()
