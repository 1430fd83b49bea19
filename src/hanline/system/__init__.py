"""What the operating system gives: files, memory, processes, a terminal."""
