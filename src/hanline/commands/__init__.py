"""One file a command: compose the configuration, build, run. No logic of their own."""
