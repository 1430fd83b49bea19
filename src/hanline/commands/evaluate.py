"""``hanline evaluate``: measures a recognizer on images whose text is known."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from hanline.cli.hydra_app import run
from hanline.commands.reading import ReaderSettings, make_reader
from hanline.errors import HanlineError
from hanline.inference.evaluation import as_json, evaluate, print_evaluation
from hanline.system import files as system_files


@dataclass
class Settings(ReaderSettings):
    """The keys of ``conf/evaluate.yaml``."""

    input: str
    output: str
    lowercase: bool
    confusions: int


def main() -> None:
    """Compose the configuration and evaluate."""
    run("evaluate", Settings, evaluate_and_report)


def evaluate_and_report(config: DictConfig) -> None:
    """Evaluate, print the figures, and write all of them to ``evaluation.json``."""
    reader = make_reader(config)
    evaluation = evaluate(reader, Path(config.input), config.lowercase)
    print_evaluation(evaluation, config.confusions)
    output = Path(config.output) / "evaluation.json"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        system_files.write_text(output, as_json(evaluation))
    except OSError as error:
        raise HanlineError(f"cannot write {output}: {error}") from error
    print(f"written: {output}")


if __name__ == "__main__":
    main()
