"""What people do together, with witnesses: checklists, transcripts, and shares of wrap keys."""
