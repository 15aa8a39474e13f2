"""What admins do with the HSMs: their state as code, and the custody of their logs."""
