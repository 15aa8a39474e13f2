"""What saves a host's data: runs on the host, as one zipapp; standard library of Python 3.11, and restic."""
