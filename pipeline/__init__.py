"""What the system knows. Pure where it can be; transport, storage and cli are the rooms that do I/O."""
