"""The error that a user can mend."""


class HanlineError(Exception):
    """Something in the user's input, files or settings is wrong.

    The message says what is wrong, where, and what to do. The commands print it without a
    traceback; any other exception is a defect of Hanline and keeps its traceback.
    """
