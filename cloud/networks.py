"""Steps on VPCs, firewall groups, domains and records."""

from collections.abc import Callable, Mapping
from typing import Any

from cloud import actions as do
from cloud.actual import tag
from cloud.client import CloudError, Item
from cloud.work import Work

TTL_S = 120
"""Of a name, the least that the provider takes: so soon all find a host that came back under another address."""


def _create_marked(work: Work, path: str, list_key: str, key: str, mark: str, body: Item) -> str:
    """Creates a thing that is known by its description; returns its id."""

    def find() -> Item | None:
        return next((item for item in work.client.list(path, list_key) if item.get("description") == mark), None)

    return str(work.client.create(path, key, {**body, "description": mark}, find)["id"])


def _create_vpc(work: Work, action: do.CreateVpc) -> None:
    subnet = action.subnet
    body = {
        "region": action.region,
        "v4_subnet": str(subnet.network_address),
        "v4_subnet_mask": subnet.prefixlen,
    }
    vpc_id = _create_marked(work, "/vpcs", "vpcs", "vpc", tag(work.site.name, action.name), body)
    work.save(lambda lock: lock.model_copy(update={"vpcs": {**lock.vpcs, action.name: vpc_id}}))


def _create_firewall(work: Work, action: do.CreateFirewall) -> None:
    mark = tag(work.site.name, action.name)
    group = _create_marked(work, "/firewalls", "firewall_groups", "firewall_group", mark, {})
    work.save(lambda lock: lock.model_copy(update={"firewalls": {**lock.firewalls, action.name: group}}))


def _add_rule(work: Work, action: do.AddRule) -> None:
    path = f"/firewalls/{work.lock.firewalls[action.firewall]}/rules"
    rule = vars(action.rule)

    def there() -> bool:
        rules = work.client.list(path, "firewall_rules")
        return any(all(known.get(key, "") == value for key, value in rule.items()) for known in rules)

    work.client.ensure(path, {**rule, "notes": action.notes}, there)


def _drop_rule(work: Work, action: do.DropRule) -> None:
    work.client.remove(f"/firewalls/{work.lock.firewalls[action.firewall]}/rules/{action.rule_id}")


def _describe(work: Work, path: str, name: str) -> None:
    work.client.put(path, description=tag(work.site.name, name))


def _create_domain(work: Work, action: do.CreateDomain) -> None:
    def there() -> bool:
        return any(known["domain"] == action.domain for known in work.client.list("/domains", "domains"))

    work.client.ensure("/domains", {"domain": action.domain}, there)


def _point_name(work: Work, action: do.PointName) -> None:
    data = work.address(action.host, action.type)
    if not data:
        raise CloudError(action.thing, 0, f"{action.host} has no address for {action.type}")
    path = f"/domains/{work.domain}/records"
    body = {"name": action.name, "type": action.type, "data": data, "ttl": TTL_S}

    def find() -> Item | None:
        same = ("name", "type", "data")
        records = work.client.list(path, "records")
        return next((record for record in records if all(record[key] == body[key] for key in same)), None)

    work.client.create(path, "record", body, find)


STEPS: Mapping[type[do.Action], Callable[[Work, Any], None]] = {
    do.CreateVpc: _create_vpc,
    do.DescribeVpc: lambda work, action: _describe(work, f"/vpcs/{action.vpc_id}", action.name),
    do.RemoveVpc: lambda work, action: work.client.remove(f"/vpcs/{action.vpc_id}"),
    do.CreateFirewall: _create_firewall,
    do.DescribeFirewall: lambda work, action: _describe(work, f"/firewalls/{action.group_id}", action.name),
    do.RemoveFirewall: lambda work, action: work.client.remove(f"/firewalls/{action.group_id}"),
    do.AddRule: _add_rule,
    do.DropRule: _drop_rule,
    do.CreateDomain: _create_domain,
    do.PointName: _point_name,
    do.DropRecord: lambda work, action: work.client.remove(f"/domains/{work.domain}/records/{action.record_id}"),
}
