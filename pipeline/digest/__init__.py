"""The weekly digest: what it asks, and the forms it comes in. Must not know where it is sent."""
