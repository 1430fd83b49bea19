"""What Lightning is given besides model and data: callbacks, schedules, starting weights."""
