"""What admins do with releases: `mainstay release`."""
