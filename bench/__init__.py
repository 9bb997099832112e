"""What is fast, measured beside what it replaces. Nothing here is a test."""
