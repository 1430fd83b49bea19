"""The page on which a person confirms and corrects readings, and the server behind it."""
