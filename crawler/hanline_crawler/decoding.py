"""Bytes to text, whatever the headers say."""


def decoded(body: bytes, announced: str | None = None) -> str:
    """A page's text.

    Korean sites announce UTF-8 and send EUC-KR, or announce nothing; so the bytes decide: the
    encoding that leaves the fewest characters unread, of equal ones the first of UTF-8, EUC-KR
    and the announced one.

    Args:
        body: the page as it came.
        announced: the encoding that the headers name.
    """
    candidates = ["utf-8-sig", "cp949"]
    # Latin encodings read every byte, so they would always win; servers announce them unasked.
    if announced and not announced.lower().startswith(
        ("iso-8859", "latin", "windows-125", "cp125")
    ):
        candidates.append(announced)
    best, fewest = "", len(body) + 1
    for encoding in candidates:
        try:
            text = body.decode(encoding, errors="replace")
        except LookupError:  # an encoding that Python does not know
            continue
        unread = text.count("\ufffd")
        if unread < fewest:
            best, fewest = text, unread
        if not unread:
            break
    return best
