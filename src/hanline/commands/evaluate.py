"""``hanline evaluate``: measures a recognizer on images whose text is known."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from hanline.cli.hydra_app import run
from hanline.commands.reading import ReaderSettings, make_reader
from hanline.errors import HanlineError
from hanline.inference.calibration import print_calibration
from hanline.inference.evaluation import as_json, evaluate, print_evaluation
from hanline.inference.readings_page import ReadingsPage
from hanline.system import files as system_files


@dataclass
class Settings(ReaderSettings):
    """The keys of ``conf/evaluate.yaml``."""

    input: str
    output: str
    lowercase: bool
    confusions: int
    page: bool
    parts: bool
    calibration: bool


def main() -> None:
    """Compose the configuration and evaluate."""
    run("evaluate", Settings, evaluate_and_report)


def evaluate_and_report(config: DictConfig) -> None:
    """Evaluate, print the figures, and write all of them to ``evaluation.json``."""
    if config.parts and not config.page:
        raise HanlineError(
            "parts=true: expected page=true too, since only the page shows them. Set it, or "
            "parts=false"
        )
    reader = make_reader(config)
    page = ReadingsPage(Path(config.output) / "readings.html") if config.page else None
    evaluation = evaluate(
        reader,
        Path(config.input),
        config.lowercase,
        page.add if page else None,
        config.parts,
        config.calibration,
    )
    print_evaluation(evaluation, config.confusions)
    if evaluation.calibration:
        print_calibration(evaluation.calibration)
    output = Path(config.output) / "evaluation.json"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        system_files.write_text(output, as_json(evaluation))
    except OSError as error:
        raise HanlineError(f"cannot write {output}: {error}") from error
    if page:
        page.write()
    print(f"written: {output}" + (f", {page.path}" if page else ""))


if __name__ == "__main__":
    main()
