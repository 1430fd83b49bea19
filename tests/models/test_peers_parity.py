"""Models of baudm/parseq and OpenOCR, imported, give what the peers' own code gives."""

import json
from pathlib import Path

import pytest
import torch
from support.dtrb import assert_matches
from support.peers import FILE, LABELS, OPENOCR, PARSEQ, images, weights

from hanline.formats import openocr, parseq
from hanline.formats.base import Description
from hanline.formats.record import build

REFERENCE = json.loads(FILE.read_text(encoding="utf-8"))["cases"]
COMPUTED = (".mask", "GridGenerator.P_hat", "GridGenerator.inv_delta_C")


def imported(case, **changes):
    shapes = REFERENCE[case]["shapes"]
    state = weights({k: s for k, s in shapes.items() if not k.endswith(COMPUTED)})
    state |= {k: torch.zeros(s) for k, s in shapes.items() if k.endswith(".mask")}
    module, read_as = (parseq, parseq.Parseq()) if case in PARSEQ else (openocr, openocr.OpenOCR())
    path = Path(f"{case}.pt")
    file = read_as.complete(module.converted(state, {}, path), Description(), path)
    file.spec["prediction"] |= changes
    return build(file.spec, file.state, {}, path)


@pytest.mark.processor
@pytest.mark.parametrize("case", [*PARSEQ, *OPENOCR])
@torch.inference_mode()
def test_a_peers_model_gives_the_peers_scores(case):
    expected = REFERENCE[case]["outputs"]
    of_parseq = case.startswith("parseq")
    recognizer = imported(case, **({"refinements": 0, "orders": 2} if of_parseq else {}))
    prediction, features = recognizer.prediction, recognizer.features(images(case))
    if case == "trba":
        # Its classes: end and characters here, without a start.
        assert_matches(prediction(features, stop_early=False)[..., 1:], expected["scores"])
        return
    assert_matches(prediction(features), expected["scores"])
    if of_parseq:
        prediction.refinements = 2
        assert_matches(prediction(features), expected["refined"])
        prediction.refinements, prediction.autoregressive = 0, False
        assert_matches(prediction(features), expected["at_once"])


@pytest.mark.processor
def test_parseq_trains_with_the_peers_loss():
    recognizer = imported("parseq-tiny", orders=2, dropout=0.0).train()
    loss = recognizer.loss(images("parseq-tiny"), LABELS)
    assert_matches(loss, REFERENCE["parseq-tiny"]["outputs"]["loss"])
