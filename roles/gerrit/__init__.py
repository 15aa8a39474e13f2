"""The review server: Gerrit, and what serves its repositories."""
