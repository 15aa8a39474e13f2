"""The metadata service at 169.254.169.254, as cloud-init's Vultr datasource reads it (cloud-init 25.1).

Hosts are told apart by their source address. `GET /` answers 200: cloud-init then tries no DHCP.
"""

import base64
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lab.api import catalogue
from lab.api.cloud import Cloud
from lab.api.store import Item

VENDOR_DATA = "#cloud-config\ndisable_root: false\n"
"""The provider lets root log in with the account's keys."""


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode(errors="replace")


def _interfaces(cloud: Cloud, item: Item) -> list[Item]:
    config = cloud.engine.config
    found = []
    for nic in cloud.machine(item).nics:
        main, *more = nic.ipv4
        public = nic.network == "public"
        interface: Item = {
            "mac": nic.mac,
            "network-type": "public" if public else "private",
            "ipv4": {
                "address": str(main.ip),
                "netmask": str(main.netmask),
                "gateway": str(config.gateway4) if public else "",
                "routes": [],
                "additional": [
                    {"address": str(extra.ip), "netmask": "255.255.255.255", "routes": []} for extra in more
                ],
            },
            "ipv6": {
                "address": str(nic.ipv6[0].ip) if nic.ipv6 else "",
                "network": str(config.network6.network_address) if nic.ipv6 else "",
                "prefix": str(config.network6.prefixlen) if nic.ipv6 else "",
                "routes": [],
                "additional": [],
            },
        }
        if not public:
            interface["network-v2-id"] = nic.network
        found.append(interface)
    return found


def _vendor_data(script: str) -> str:
    """With the startup script, if any, as a part of its own. (cloud-init 25.1 stumbles over a list of parts.)"""
    if not script:
        return VENDOR_DATA
    parts = MIMEMultipart()
    parts.attach(MIMEText(VENDOR_DATA, "cloud-config"))
    parts.attach(MIMEText(script, "x-shellscript"))
    return parts.as_string()


def document(cloud: Cloud, item: Item) -> Item:
    """v1.json of one host. The startup script is run by cloud-init as a part of the vendor data."""
    script = _decoded(item["_script"])
    return {
        "instance-v2-id": item["id"],
        "instanceid": item["id"],
        "hostname": item["hostname"],
        "region": {"regioncode": item["region"].upper(), "countrycode": catalogue.region(item["region"])["country"]},
        "user-data": _decoded(item["_user_data"]),
        "vendor-data": _vendor_data(script),
        "startup-script": script,
        "public-keys": item["_ssh_keys"],
        "interfaces": _interfaces(cloud, item),
        "tags": item["tags"],
        "bgp": {"ipv4": {}, "ipv6": {}},
    }


def _of(cloud: Cloud, address: str) -> Item | None:
    for item in cloud.store.all("instance"):
        if address in (item["main_ip"], *item["_extra_ipv4"]):
            return item
    return None


def _fetched(cloud: Cloud, instance_id: str) -> None:
    """A host that asks for all of its metadata has booted; a slow first boot was its only slow one."""
    with cloud.store.change():
        item = cloud.store.get("instance", instance_id)
        if item and not item["_booted"]:
            cloud.store.put("instance", item | {"_booted": True, "_boot": "normal"})


def _walk(found: Any, path: list[str]) -> Response:
    """One value as text, or the names below, as the provider's tree of paths has it."""
    for part in filter(None, path):
        if isinstance(found, list):
            found = dict(enumerate(found))
            part = int(part) if part.isdecimal() else part  # type: ignore[assignment]
        if not isinstance(found, dict) or part not in found:
            return PlainTextResponse("Not found", 404)
        found = found[part]
    if isinstance(found, dict):
        return PlainTextResponse("\n".join(str(key) for key in found))
    if isinstance(found, list):
        return PlainTextResponse("\n".join(str(value) for value in found))
    return PlainTextResponse(str(found))


def app(cloud: Cloud) -> Starlette:
    """The service as an ASGI application."""

    def answer(address: str, path: str) -> Response:
        if path in ("", "v1", "latest"):
            return PlainTextResponse("latest\nv1\nv1.json" if not path else "\n")
        item = _of(cloud, address)
        if item is None:
            return PlainTextResponse("Not found", 404)
        if path == "v1.json":
            _fetched(cloud, item["id"])
            return JSONResponse(document(cloud, item))
        version, _, rest = path.partition("/")
        if version not in ("v1", "latest"):
            return PlainTextResponse("Not found", 404)
        return _walk(document(cloud, item), rest.split("/"))

    async def handle(request: Request) -> Response:
        address = request.client.host if request.client else ""
        return await run_in_threadpool(answer, address, request.url.path.strip("/"))

    return Starlette(routes=[Route("/{path:path}", handle)])
