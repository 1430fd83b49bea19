"""The commands, a file each: compose the configuration, build the parts, run.

A file's docstring begins with the command's name and its description. See ``hanline.cli.commands``.
"""
