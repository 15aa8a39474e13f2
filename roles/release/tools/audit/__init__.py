"""Is what every release server holds and answers what metadata promises? Seen from outside and on the disk."""
