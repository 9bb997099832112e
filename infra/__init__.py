"""What the system runs on: embedded servers, container and dashboard definitions. Imports nothing of ours."""
