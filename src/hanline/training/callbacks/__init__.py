"""What happens around the training: one file each."""
