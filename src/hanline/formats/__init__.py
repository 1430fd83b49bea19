"""Model files: one contract (``base``), one list (``registry``), one file or folder a format."""
