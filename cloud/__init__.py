"""How hosts come and go.

`provision` is the operation; it reads the account (`actual`), plans (`declared`, `plan`, `removals`, `switches`: pure;
`actions` is their vocabulary) and applies (`apply`, and the steps in `networks`, `hosts` and `volumes`, which share a
`work`). `client` speaks to the provider; `user_data` and `first_contact` are how a host is known by its key from the
start.
"""
