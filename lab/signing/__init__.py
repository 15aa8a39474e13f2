"""A signing host of a lab: its site, what an admin does there in sessions, and what is signed in a rehearsal."""
