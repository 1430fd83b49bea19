"""The error that a user can fix."""


class HanlineError(Exception):
    """Something in the user's input, files or settings is wrong.

    The message names the key or the file, the rule, and what to do. The commands print it without a
    traceback; any other exception is a defect of Hanline and keeps its traceback.
    """
