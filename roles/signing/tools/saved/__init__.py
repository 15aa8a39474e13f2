"""The backup of a signing host: one folder, to be carried on a medium, that brings a new HSM to what the old one was.

    SHA256SUMS                      of all that follows, as sha256sum(1) writes and checks it
    saved.json                      when, by which host, and of the log its newest commit, entries and last entry
    hsm.toml                        what is declared
    hsm-log.bundle                  the logs in custody, all of them (git-bundle(1))
    keys/0x0101-asymmetric-key.yhw  wrapped keys
    keys/0x0101.x509.pem            certificates

Nothing in it is secret without the wrap key, whose shards lie elsewhere.
"""

SUMS, ABOUT, DECLARATION, BUNDLE, KEYS = "SHA256SUMS", "saved.json", "hsm.toml", "hsm-log.bundle", "keys"
