"""Other projects' formats, one file each."""
