"""What admins do with the running website: publish it, or its message alone, go back, look."""
