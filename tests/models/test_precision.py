"""In which numbers a machine computes: what it can, what it is asked for, and what is refused."""

import platform

import pytest
import torch

from hanline.errors import HanlineError
from hanline.inference.reader import Reader
from hanline.models.precision import best_precision, check_precision, lstms_need_float32

pytestmark = pytest.mark.processor
ARCHITECTURES = [
    ("none", "vgg", "bilstm", "ctc"),
    ("tps", "resnet", "bilstm", "attn"),
    ("none", "rcnn", "bilstm", "attn"),
    ("none", "compact", "bilstm", "ctc"),
]


@pytest.mark.parametrize("stages", ARCHITECTURES, ids="-".join)
def test_every_processor_trains_and_reads_in_bfloat16(stages, make_recognizer):
    recognizer = make_recognizer(*stages)
    images = torch.randint(0, 256, (4, 1, 32, 96), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        loss = recognizer.train().loss(images, ["1", "가나", "A", "10"])
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in recognizer.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        # One width, and several: their LSTMs go through torch by different doors.
        recognizer.eval().read(images)
        if stages[0] == "none":
            recognizer.read_all([images, images[..., :64]])


def test_words_are_read_in_bfloat16_as_in_float32(checkpoint, picture, words):
    pictures = [picture(word) for word in words]
    for precision in ("32-true", "bf16-mixed"):
        reader = Reader(checkpoint, "cpu", precision=precision)
        assert [reading.text for reading in reader.read(pictures)] == words


def test_looking_for_an_lstm_draws_no_random_number():
    before = torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16):
        lstms_need_float32("cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_float32_is_left_as_it_is():
    assert not lstms_need_float32("cpu")


def test_the_choice_is_what_torch_multiplies_in():
    chosen, reason = best_precision("cpu")
    assert ("has bfloat16 products" in reason) == (chosen == "bf16-mixed")
    if chosen == "bf16-mixed":
        assert torch.backends.mkldnn.is_available()
        if platform.machine() in ("x86_64", "AMD64"):
            assert torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        with torch.autocast("cpu", torch.bfloat16):
            assert not lstms_need_float32("cpu")


def test_sixteen_bits_of_a_gpu_are_refused_on_a_processor(command):
    message = "trainer.precision=16-mixed: expected a GPU"
    with pytest.raises(HanlineError, match=message):
        check_precision("trainer.precision", "16-mixed", "cpu")
    done = command(
        *("train", "experiment=lines", "trainer.accelerator=cpu", "trainer.precision=16-mixed")
    )
    assert done.status == 1
    assert message in done.err
    assert "Set trainer.precision=auto." in done.err


@pytest.mark.parametrize("precision", ["32-true", "auto"])
def test_what_every_processor_has_brings_no_warning(precision):
    assert check_precision("precision", precision, "cpu") is None


@pytest.mark.skipif(
    best_precision("cpu")[0] == "bf16-mixed", reason="here bfloat16 is what is fastest"
)
def test_slow_numbers_are_warned_of(checkpoint, caplog):
    Reader(checkpoint, "cpu", precision="bf16-mixed")
    assert "precision=bf16-mixed is slow here" in caplog.text
