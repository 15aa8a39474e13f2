"""What admins do with the running review server: `mainstay gerrit`."""
