"""Callbacks of a training, one file each; ``conf/callbacks`` has one yaml for each.

A callback is any ``pytorch_lightning.Callback``. Its keys are the arguments of its ``__init__``.
"""
