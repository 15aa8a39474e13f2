"""The signing host: a dedicated machine with two YubiHSM 2, on which releases are signed."""
