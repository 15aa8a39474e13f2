"""What brings a mirror up to date: runs on the host, as one zipapp; standard library of Python 3.11, and git."""
