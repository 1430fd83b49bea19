"""Checkpoint files: those of a run are loaded, and of all others it is said what they are."""

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from hanline import __version__
from hanline.errors import HanlineError
from hanline.formats.record import FORMAT_VERSION
from hanline.formats.registry import open_model
from hanline.formats.torch_file import load_weights_file


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return Path.write_text, (self.place, "run")


@pytest.fixture
def content(checkpoint):
    return torch.load(checkpoint, weights_only=True)


@pytest.fixture
def saved(tmp_path):
    def saved(content, **options):
        path = tmp_path / "made.ckpt"
        torch.save(content, path, **options)
        return path

    return saved


def refusal(path):
    with pytest.raises(HanlineError) as refused:
        open_model(path)
    message = str(refused.value)
    assert str(path) in message
    assert len(message) < 1000
    return message


@pytest.mark.parametrize(
    "stages",
    [
        ("none", "vgg", "none", "ctc"),
        ("none", "rcnn", "bilstm", "attn"),
        ("tps", "resnet", "bilstm", "attn"),
        ("tps", "compact", "none", "ctc"),
    ],
    ids="-".join,
)
def test_a_checkpoint_brings_back_all_that_it_was(
    stages, make_recognizer, save_checkpoint, tmp_path
):
    recognizer = make_recognizer(
        *stages, charset="한글 A·", image=(48, 64, 3), max_label_length=7
    ).eval()
    for parameter in recognizer.parameters():
        torch.nn.init.uniform_(parameter, -0.1, 0.1)
    loaded = open_model(save_checkpoint(recognizer, tmp_path / "a.ckpt"))
    assert loaded.spec == recognizer.spec
    assert loaded.charset.characters == "한글 A·"
    assert not loaded.training
    images = torch.randint(0, 256, (3, 3, 48, 64), dtype=torch.uint8)
    assert loaded.read(images) == recognizer.read(images)


def test_a_checkpoint_says_what_wrote_it(content):
    assert content["hanline"]["version"] == __version__


@pytest.mark.parametrize("zipped", [True, False])
def test_a_payload_is_refused_and_does_not_run(zipped, content, saved, tmp_path):
    sprung = tmp_path / "sprung"
    content["callbacks"] = {"trap": Payload(sprung)}
    path = saved(content, _use_new_zipfile_serialization=zipped)
    message = refusal(path)
    assert "refused" in message
    assert "executed" in message
    assert not sprung.exists()
    # It is a trap indeed.
    torch.load(path, weights_only=False)
    assert sprung.exists()


def test_a_plain_pickle_with_a_payload_does_not_run(tmp_path):
    path = tmp_path / "plain.pth"
    path.write_bytes(pickle.dumps({"state_dict": Payload(tmp_path / "sprung")}, protocol=2))
    refusal(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_damaged(share, zipped, content, saved):
    path = saved(content, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "damaged" in refusal(path)


def test_files_of_other_kinds_are_damaged(tmp_path):
    empty_zip = io.BytesIO()
    zipfile.ZipFile(empty_zip, "w").close()
    some_zip = io.BytesIO()
    with zipfile.ZipFile(some_zip, "w") as archive:
        archive.writestr("data.pkl", b"")
    for number, kind in enumerate(
        [
            "headline 속보\n" * 20,
            "{}",
            "\x80",
            empty_zip.getvalue(),
            some_zip.getvalue(),
            b"\x89PNG\r\n\x1a\n" + bytes(200),
            bytes(1000),
            b"(d(t(l.",
            b"0",
        ]
    ):
        path = tmp_path / f"{number}.ckpt"
        path.write_bytes(kind.encode() if isinstance(kind, str) else kind)
        assert "damaged" in refusal(path), kind


def test_damage_of_any_kind_is_no_defect(content, saved):
    """Bytes overwritten here and there: each file is loaded or refused."""
    path = saved({"hanline": content["hanline"], "state_dict": {"w": torch.ones(2)}})
    small = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(small)
        for place in torch.randint(0, len(small), (4,), generator=generator).tolist():
            damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            load_weights_file(path)
        except HanlineError:
            refused += 1
    assert refused > 50


def test_what_is_not_there_is_told(tmp_path):
    for path in (tmp_path / "none.ckpt", tmp_path):
        assert "expected a model's file, but there is none" in refusal(path)


def test_what_torch_saved_of_something_else_is_no_checkpoint(content, saved):
    assert "holds a Tensor" in refusal(saved(torch.ones(3)))
    assert "holds a list" in refusal(saved([1, 2]))
    for other in (
        {},
        {"state_dict": content["state_dict"]},
        {"hanline": content["hanline"]},
        {"hanline": 3, "state_dict": {}},
        {"hanline": content["hanline"], "state_dict": 3},
    ):
        assert "is not a checkpoint of Hanline" in refusal(saved(other))


def test_dtrbs_weights_cannot_be_read_with_as_they_are(saved):
    state = {
        "module.FeatureExtraction.ConvNet.0.weight": torch.zeros(4, 1, 3, 3),
        "module.Prediction.weight": torch.zeros(37, 8),
        "module.Prediction.bias": torch.zeros(37),
    }
    assert "hanline import dtrb" in refusal(saved(state))


def changed(content, **spec):
    record = content["hanline"]
    return content | {"hanline": record | {"recognizer": record["recognizer"] | spec}}


OTHER_SPECS = {
    "no spec": lambda c: c | {"hanline": {"version": "9.9"}},
    "no image size": lambda c: changed(c, image={"height": 32}),
    "an image size in words": lambda c: changed(
        c, image={"height": "tall", "width": 96, "channels": 1, "keep_ratio": False}
    ),
    "a truth value for a size": lambda c: changed(
        c, image={"height": True, "width": 96, "channels": 1, "keep_ratio": False}
    ),
    "an image of no width": lambda c: changed(
        c, image={"height": 32, "width": 0, "channels": 1, "keep_ratio": False}
    ),
    "texts without end": lambda c: changed(c, max_label_length=10**9),
    "a charset that is no text": lambda c: changed(c, charset=["가", "나"]),
    "a stage that is no mapping": lambda c: changed(c, prediction=3),
}


@pytest.mark.parametrize("change", OTHER_SPECS.values(), ids=OTHER_SPECS.keys())
def test_what_describes_no_model_is_refused(change, content, saved):
    assert "describes no model" in refusal(saved(change(content)))


def test_a_newer_versions_file_is_told(content, saved):
    content["hanline"]["format_version"] = FORMAT_VERSION + 1
    content["hanline"]["recognizer"] = "something else"
    message = refusal(saved(content))
    assert f"made by a newer version of Hanline (format {FORMAT_VERSION + 1};" in message
    assert "update Hanline" in message
    content["hanline"]["format_version"] = "two"
    assert "format_version" in refusal(saved(content))


def test_unknown_keys_of_a_known_version_are_ignored(content, saved, checkpoint):
    """A reader that must not ignore a new key is kept away by the format's version."""
    more = changed(content, license="Apache-2.0")
    more["hanline"] |= {"thumbnail": [1, 2]}
    more["hanline"]["recognizer"]["image"] |= {"dpi": 300}
    assert open_model(saved(more)).spec == open_model(checkpoint).spec


@pytest.mark.parametrize(
    "tensor",
    [
        torch.empty(3, device="meta"),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        torch.eye(3).to_sparse(),
        torch.ones(3, dtype=torch.complex64),
    ],
    ids=["meta", "quantized", "sparse", "complex"],
)
def test_tensors_that_are_no_plain_numbers_are_refused(tensor, content, saved):
    content["state_dict"]["recognizer.prediction.linear.bias"] = tensor
    message = refusal(saved(content))
    assert "expected plain numbers" in message or "refused" in message


@pytest.mark.parametrize("number", [10**9, 10**30, -(10**9), float("inf"), float("nan")], ids=str)
def test_numbers_that_no_tensor_of_the_file_has_are_refused(number, content, saved):
    message = refusal(saved(broken(content, "feature_extraction", channels=[8, 16, number, 32])))
    assert "cannot be built" in message


def broken(content, stage, **numbers):
    config = content["hanline"]["recognizer"][stage] | numbers
    return changed(content, **{stage: config})


BROKEN_SPECS = {
    "stage of another package": (
        lambda c: broken(c, "feature_extraction", _target_="os.system"),
        "expected one of",
    ),
    "stage of another version": (
        lambda c: broken(c, "prediction", _target_="hanline.models.prediction.aed.AED"),
        "expected one of",
    ),
    "another number": (lambda c: broken(c, "prediction", beam=4), "expected numbers"),
    "negative width": (
        lambda c: broken(c, "feature_extraction", channels=[-8, 16, 32, 32]),
        "cannot be built",
    ),
    "repeated characters": (lambda c: changed(c, charset="가가"), "more than once"),
    "no characters": (lambda c: changed(c, charset=""), "empty"),
}


@pytest.mark.parametrize("change, reason", BROKEN_SPECS.values(), ids=BROKEN_SPECS.keys())
def test_a_model_that_cannot_be_built_is_told(change, reason, content, saved):
    with pytest.raises(HanlineError, match=reason):
        open_model(saved(change(content)))


def test_weights_of_another_model_are_told(content, saved):
    few = dict(list(content["state_dict"].items())[:3])
    assert "do not fit" in refusal(saved(content | {"state_dict": few}))
    assert "do not fit" in refusal(saved(content | {"state_dict": {}}))
    no_tensors = dict.fromkeys(content["state_dict"], "a weight")
    assert "do not fit" in refusal(saved(content | {"state_dict": no_tensors}))
    other_shapes = {k: torch.zeros(3, 3) for k in content["state_dict"]}
    assert "do not fit" in refusal(saved(content | {"state_dict": other_shapes}))
    longer = content["hanline"]["recognizer"]["charset"] + "韓"
    assert "do not fit" in refusal(saved(changed(content, charset=longer)))
