"""Programs that the operations run on hosts: the standard library only, sent over standard input (../program.py).

Each ends with 0, or with a message on stderr and 1.
"""
