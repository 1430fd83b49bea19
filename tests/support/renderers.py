"""A renderer of plain text, and texts that are hard to render."""

from hanline.synthesis.broadcast import BroadcastRenderer

# Black on light gray, upright, always the same.
PLAIN = BroadcastRenderer(
    height=32,
    font_size=[0.6, 0.6],
    full_height_probability=0,
    rotation_degrees=0,
    rotation_probability=1,
    rotation_below_characters=10,
    letter_width=[1, 1],
    spacing=[0, 0],
    bold_probability=0,
    bold_thickness=[0.06, 0.06],
    edge=0.05,
    margin=[0.1, 0.1],
    shift=0,
    text_color=["#000000", "#000000"],
    background_color=["#EEEEEE", "#EEEEEE"],
    light_on_dark_probability=0,
)
HARD_TEXTS = [
    "가",
    "힣뷁쀍",
    "jgpqyÅ|",
    "…",
    "8·15 (종합)",
    "女軍黨 '속보'",
    "가나다라마바사아자차카타파하",
    "_",
]
