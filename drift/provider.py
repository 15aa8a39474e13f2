"""The provider's side: what provisioning would change there, by its own plan."""

from collections.abc import Iterator

from cloud import actions as do
from cloud import actual, plan
from cloud.client import CloudError
from cloud.declared import Site
from cloud.provision import client
from drift.findings import PROVIDER, UNSEEN, Finding
from inventories.errors import InputError
from inventories.inventory import LoadedSite

WORDS = {"+": "is not there", "~": "is not as declared", "-": "is there, and not declared", "?": "nobody declared it"}
DEPLOY = "deploys/provision.py"


def differences(site: LoadedSite) -> Iterator[Finding]:
    """One for each line of the plan. Who has no key to the API is told so."""
    try:
        seen = Site(site.path, site.fleet, actual.read(client(site, lambda _: None), site.fleet, site.lock), site.lock)
        found = plan.make(seen)
    except (CloudError, InputError) as error:
        yield Finding(PROVIDER, UNSEEN, "its API", str(error))
        return
    for one in found:
        host = one.host if isinstance(one, do.OfHost) else PROVIDER
        details = str(one).partition(f" {one.thing}")[2].removeprefix(": ")
        why = ": ".join(filter(None, (WORDS.get(one.sign, ""), details)))
        yield Finding(host, "provider", one.thing, why, declared=DEPLOY)
