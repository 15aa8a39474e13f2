"""What provisioning may do, one type an action. `str()` of an action is its line in the plan.

Actions name things as the fleet does; ids are looked up in the lock when they are applied, since a thing may not exist
when the plan is made. `+` creates, `~` changes, `-` removes, `!` is drift that cannot be changed, `?` is not declared.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Action:
    """One line of a plan. `of` and `how` are format strings over the action."""

    sign: ClassVar[str]
    of: ClassVar[str]
    how: ClassVar[str] = ""

    @property
    def thing(self) -> str:
        """`host/NAME`, `volume/HOST/NAME`, `vpc/NAME`, ...: the words of `--data remove=`."""
        return self.of.format(self)

    def __str__(self) -> str:
        return f"{self.sign} {self.thing}" + (": " + self.how.format(self) if self.how else "")


@dataclass(frozen=True)
class Remember(Action):
    """Things that exist are not in the lock as they are: a run was killed, or an address has changed."""

    sign, of, how = "~", "lock", "records {0.things}"
    things: str


@dataclass(frozen=True)
class CreateVpc(Action):
    sign, of, how = "+", "vpc/{0.name}", "{0.subnet} in {0.region}"
    name: str
    region: str
    subnet: IPv4Network


@dataclass(frozen=True)
class DescribeVpc(Action):
    sign, of, how = "~", "vpc/{0.name}", "description"
    name: str
    vpc_id: str


@dataclass(frozen=True)
class RemoveVpc(Action):
    sign, of = "-", "vpc/{0.name}"
    name: str
    vpc_id: str


@dataclass(frozen=True)
class CreateFirewall(Action):
    sign, of = "+", "firewall/{0.name}"
    name: str


@dataclass(frozen=True)
class DescribeFirewall(Action):
    sign, of, how = "~", "firewall/{0.name}", "description"
    name: str
    group_id: str


@dataclass(frozen=True)
class RemoveFirewall(Action):
    sign, of = "-", "firewall/{0.name}"
    name: str
    group_id: str


@dataclass(frozen=True)
class RuleKey:
    """A firewall rule as the provider keeps it, but for its notes: it refuses a second one with the same key."""

    ip_type: str
    protocol: str
    port: str
    subnet: str
    subnet_size: int
    source: str = ""
    """A list of the provider's (`cloudflare`, a load balancer) in place of the subnet; none is ever declared."""

    def __str__(self) -> str:
        port = f" {self.port}" if self.port else ""
        return f"{self.protocol}{port} from {self.source or f'{self.subnet}/{self.subnet_size}'}"


@dataclass(frozen=True)
class AddRule(Action):
    sign, of, how = "+", "firewall/{0.firewall}", "{0.rule}"
    firewall: str
    rule: RuleKey
    notes: str


@dataclass(frozen=True)
class DropRule(Action):
    sign, of, how = "-", "firewall/{0.firewall}", "{0.rule}"
    firewall: str
    rule: RuleKey
    rule_id: int


@dataclass(frozen=True)
class OfHost(Action):
    """Actions on one host follow each other in the plan's order; those of different hosts run at the same time."""

    of = "host/{0.host}"
    host: str


@dataclass(frozen=True)
class CreateHost(OfHost):
    sign, how = "+", "{0.what}, ${0.monthly_usd:.2f} a month"
    what: str
    monthly_usd: float
    doubtful: bool
    """An earlier run may have died while it asked for this host."""


Field = Literal["label", "tags", "firewall", "backups", "plan"]


@dataclass(frozen=True)
class ChangeHost(OfHost):
    sign, how = "~", "{0.changed}"
    fields: tuple[Field, ...]

    @property
    def changed(self) -> str:
        return ", ".join(self.fields)


@dataclass(frozen=True)
class ReinstallHost(OfHost):
    sign, how = "~", "reinstalled: its root disk is lost, its volumes stay"


@dataclass(frozen=True)
class FirstContact(OfHost):
    sign, how = "~", "first contact: host key made there and pinned"


@dataclass(frozen=True)
class JoinVpc(OfHost):
    sign, how = "~", "joins VPC {0.vpc}"
    vpc: str


@dataclass(frozen=True)
class LeaveVpc(OfHost):
    sign, how = "~", "leaves VPC {0.vpc_id}"
    vpc_id: str


@dataclass(frozen=True)
class RemoveHost(OfHost):
    sign = "-"
    instance_id: str


@dataclass(frozen=True)
class OfVolume(OfHost):
    of = "volume/{0.host}/{0.volume}"
    volume: str


@dataclass(frozen=True)
class CreateVolume(OfVolume):
    sign, how = "+", "{0.size_gb} GB"
    size_gb: int


@dataclass(frozen=True)
class LabelVolume(OfVolume):
    sign, how = "~", "label"
    block_id: str


@dataclass(frozen=True)
class AttachVolume(OfVolume):
    sign, how = "~", "attached to {0.host}"


@dataclass(frozen=True)
class GrowVolume(OfVolume):
    sign, how = "~", "grown to {0.size_gb} GB"
    block_id: str
    size_gb: int


@dataclass(frozen=True)
class DetachVolume(OfVolume):
    sign, how = "~", "detached, its data stays"
    block_id: str


@dataclass(frozen=True)
class RemoveVolume(OfVolume):
    sign, how = "-", "with its data"
    block_id: str


@dataclass(frozen=True)
class CreateDomain(Action):
    sign, of = "+", "domain/{0.domain}"
    domain: str


@dataclass(frozen=True)
class OfRecord(Action):
    """`name` is relative to the domain; "" is the domain itself, shown as @."""

    of = "record/{0.shown}"
    name: str

    @property
    def shown(self) -> str:
        return self.name or "@"


AddressType = Literal["A", "AAAA"]


@dataclass(frozen=True)
class PointName(OfRecord):
    """A record to a host's address."""

    sign, how = "+", "{0.type} to {0.host}"
    type: AddressType
    host: str


@dataclass(frozen=True)
class DropRecord(OfRecord):
    sign, how = "-", "{0.type} {0.data}"
    type: str
    data: str
    record_id: str


@dataclass(frozen=True)
class Told(Action):
    """Nothing is done about it."""

    of = "{0.subject}"
    subject: str


@dataclass(frozen=True)
class Drift(Told):
    """What the provider cannot change."""

    sign, how = "!", "{0.problem}"
    problem: str


@dataclass(frozen=True)
class Undeclared(Told):
    """What is removed only when named."""

    sign, how = "?", "not declared, kept{0.note}; to remove it: --data remove={0.thing}"
    note: str = ""
