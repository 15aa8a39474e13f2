"""The DNS zones of the site's domain as the provider's API gives them, for the control host to keep.

They are read here, where the deploy runs: an admin has the API's key, and the control host has none.
"""

import json

from pyinfra import logger

from cloud.client import Client, CloudError
from cloud.provision import client
from inventories.errors import InputError
from inventories.inventory import LoadedSite


def files(site: LoadedSite, folder: str) -> dict[str, str]:
    """Each zone as a file, by its path; none, and a word on why, when the API cannot be asked: what is there stays."""
    try:
        api = client(site)
        return {f"{folder}/{zone}.json": text(api, zone) for zone in zones(api, site.fleet.site.domain)}
    except (InputError, CloudError) as error:
        logger.warning(f"    the DNS zones are not read, and what the control host has of them stays: {error}")
        return {}


def zones(api: Client, domain: str) -> list[str]:
    """The domain and what is below it, where the provider has zones of their own."""
    names = [str(one["domain"]) for one in api.list("/domains", "domains")]
    return sorted(name for name in names if f".{name}".endswith(f".{domain}"))


def text(api: Client, zone: str) -> str:
    """One zone: the same for the same records, in whatever order they come."""
    content = {
        "domain": api.get(f"/domains/{zone}")["domain"],
        "soa": api.get(f"/domains/{zone}/soa")["dns_soa"],
        "records": sorted(
            api.list(f"/domains/{zone}/records", "records"),
            key=lambda record: (record["type"], record["name"], record["data"], record["id"]),
        ),
    }
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
