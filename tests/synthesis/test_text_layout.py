import dataclasses

import numpy as np
import pytest

from hanline.synthesis.text_layout import lay_out

TEXTS = ["가나다", "jgpqyÅ|fj", "힣뷁…", "8·15 1,440.5%", "\"_-'", "女軍黨㎞"]


def laid_out(font, text, spacing=0.0, space_width=1.0, stroke=0.0, line_top=0.0, size=32):
    return lay_out(text, font, size, spacing, space_width, stroke, line_top)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("spacing", [-4.3, 0, 2.5])
@pytest.mark.parametrize("stroke", [0, 1.3, 4])
def test_the_box_holds_all_ink(noto, text, spacing, stroke):
    for font in noto:
        line = laid_out(font, text, spacing, stroke=stroke)
        roomy = dataclasses.replace(
            line,
            left=line.left - 50,
            top=line.top - 50,
            right=line.right + 50,
            bottom=line.bottom + 50,
        )
        ink = np.asarray(line.mask(stroke), dtype=int).sum()
        assert ink > 0
        assert ink == np.asarray(roomy.mask(stroke), dtype=int).sum()


def test_letters_stand_by_their_own_widths_and_the_spacing(sans):
    loaded = sans.load(32)
    line = laid_out(sans, "가A1", spacing=-2.5)
    first = loaded.getlength("가") - 2.5
    assert [x for _, x in line.pieces] == [0, first, first + loaded.getlength("A") - 2.5]


def test_spaces_have_a_width_and_no_ink(sans):
    space = sans.load(32).getlength(" ")
    together, apart = (laid_out(sans, "가 나", space_width=width) for width in (0, 3))
    assert [piece for piece, _ in together.pieces] == ["가", "나"]
    assert apart.pieces[1][1] - together.pieces[1][1] == 3 * space


def test_the_box_is_as_high_as_the_line(sans):
    comma = laid_out(sans, ",", line_top=23)
    assert comma.top == -23
    assert comma.bottom > 0
    assert laid_out(sans, "가", line_top=5).top == laid_out(sans, "가").top < -20
