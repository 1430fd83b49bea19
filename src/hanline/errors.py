"""The error that a user can fix."""


class HanlineError(Exception):
    """Something in the user's input, files or settings is wrong.

    The message names the value, the place, and the remedy. The commands print it without a
    traceback; any other exception is a defect of Hanline and keeps its traceback.
    """
