"""Characters and words: nothing here knows of images or of torch."""
