"""How close readings are to their labels."""
