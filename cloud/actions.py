"""What provisioning may do, one type an action. `str()` of an action is its line in the plan.

Actions name things as the fleet does; ids are looked up in the lock when they are applied, since a thing may not exist
when the plan is made. `+` creates, `~` changes, `-` removes, `!` is drift that cannot be changed, `?` is not declared.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Action:
    """One line of a plan."""

    sign: ClassVar[str]

    @property
    def thing(self) -> str:
        """`host/NAME`, `volume/HOST/NAME`, `vpc/NAME`, ...: the words of `--data remove=`."""
        raise NotImplementedError

    @property
    def detail(self) -> str:
        return ""

    def __str__(self) -> str:
        return f"{self.sign} {self.thing}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True)
class Remember(Action):
    """Things that exist are not in the lock as they are: a run was killed, or an address has changed."""

    sign = "~"
    what: tuple[str, ...]

    @property
    def thing(self) -> str:
        return "lock"

    @property
    def detail(self) -> str:
        return "records " + ", ".join(self.what)


@dataclass(frozen=True)
class CreateVpc(Action):
    sign = "+"
    name: str
    region: str
    subnet: IPv4Network

    @property
    def thing(self) -> str:
        return f"vpc/{self.name}"

    @property
    def detail(self) -> str:
        return f"{self.subnet} in {self.region}"


@dataclass(frozen=True)
class CreateFirewall(Action):
    sign = "+"
    name: str

    @property
    def thing(self) -> str:
        return f"firewall/{self.name}"


@dataclass(frozen=True, order=True)
class RuleKey:
    """A firewall rule as the provider keeps it; two with the same key are the same rule."""

    ip_type: str
    protocol: str
    port: str
    subnet: str
    subnet_size: int

    def __str__(self) -> str:
        port = f" {self.port}" if self.port else ""
        return f"{self.protocol}{port} from {self.subnet}/{self.subnet_size}"


@dataclass(frozen=True)
class AddRule(Action):
    sign = "+"
    firewall: str
    rule: RuleKey
    notes: str

    @property
    def thing(self) -> str:
        return f"firewall/{self.firewall}"

    @property
    def detail(self) -> str:
        return str(self.rule)


@dataclass(frozen=True)
class DropRule(Action):
    sign = "-"
    firewall: str
    rule: RuleKey
    rule_id: int

    @property
    def thing(self) -> str:
        return f"firewall/{self.firewall}"

    @property
    def detail(self) -> str:
        return str(self.rule)


@dataclass(frozen=True)
class OfHost(Action):
    """Actions on one host follow each other in the plan's order; those of different hosts run at the same time."""

    host: str

    @property
    def thing(self) -> str:
        return f"host/{self.host}"


@dataclass(frozen=True)
class CreateHost(OfHost):
    sign = "+"
    what: str
    monthly_usd: float
    doubtful: bool
    """An earlier run may have died while it asked for this host."""

    @property
    def detail(self) -> str:
        return f"{self.what}, ${self.monthly_usd:.2f} a month"


Field = Literal["label", "tags", "firewall", "backups", "plan"]


@dataclass(frozen=True)
class ChangeHost(OfHost):
    sign = "~"
    fields: tuple[Field, ...]

    @property
    def detail(self) -> str:
        return ", ".join(self.fields)


@dataclass(frozen=True)
class ReinstallHost(OfHost):
    sign = "~"

    @property
    def detail(self) -> str:
        return "reinstalled: its root disk is lost, its volumes stay"


@dataclass(frozen=True)
class JoinVpc(OfHost):
    sign = "~"
    vpc: str

    @property
    def detail(self) -> str:
        return f"joins VPC {self.vpc}"


@dataclass(frozen=True)
class LeaveVpc(OfHost):
    sign = "~"
    vpc_id: str

    @property
    def detail(self) -> str:
        return f"leaves VPC {self.vpc_id}"


@dataclass(frozen=True)
class FirstContact(OfHost):
    sign = "~"

    @property
    def detail(self) -> str:
        return "first contact: host key made there and pinned"


@dataclass(frozen=True)
class OfVolume(OfHost):
    volume: str

    @property
    def thing(self) -> str:
        return f"volume/{self.host}/{self.volume}"


@dataclass(frozen=True)
class CreateVolume(OfVolume):
    sign = "+"
    size_gb: int

    @property
    def detail(self) -> str:
        return f"{self.size_gb} GB"


@dataclass(frozen=True)
class AttachVolume(OfVolume):
    sign = "~"

    @property
    def detail(self) -> str:
        return f"attached to {self.host}"


@dataclass(frozen=True)
class GrowVolume(OfVolume):
    sign = "~"
    block_id: str
    size_gb: int

    @property
    def detail(self) -> str:
        return f"grown to {self.size_gb} GB"


@dataclass(frozen=True)
class DetachVolume(OfVolume):
    sign = "~"
    block_id: str

    @property
    def detail(self) -> str:
        return "detached, its data stays"


@dataclass(frozen=True)
class CreateDomain(Action):
    sign = "+"
    domain: str

    @property
    def thing(self) -> str:
        return f"domain/{self.domain}"


@dataclass(frozen=True)
class PointName(Action):
    """An A or AAAA record to a host's address."""

    sign = "+"
    name: str
    """Relative to the domain; "" is the domain itself."""
    type: Literal["A", "AAAA"]
    host: str

    @property
    def thing(self) -> str:
        return f"record/{self.name or '@'}"

    @property
    def detail(self) -> str:
        return f"{self.type} to {self.host}"


@dataclass(frozen=True)
class DropRecord(Action):
    sign = "-"
    name: str
    type: str
    data: str
    record_id: str

    @property
    def thing(self) -> str:
        return f"record/{self.name or '@'}"

    @property
    def detail(self) -> str:
        return f"{self.type} {self.data}"


@dataclass(frozen=True)
class RemoveHost(OfHost):
    sign = "-"
    instance_id: str


@dataclass(frozen=True)
class RemoveVolume(OfVolume):
    sign = "-"
    block_id: str

    @property
    def detail(self) -> str:
        return "with its data"


@dataclass(frozen=True)
class RemoveVpc(Action):
    sign = "-"
    name: str
    vpc_id: str

    @property
    def thing(self) -> str:
        return f"vpc/{self.name}"


@dataclass(frozen=True)
class RemoveFirewall(Action):
    sign = "-"
    name: str
    group_id: str

    @property
    def thing(self) -> str:
        return f"firewall/{self.name}"


@dataclass(frozen=True)
class Drift(Action):
    """Reported only: the provider cannot change it."""

    sign = "!"
    of: str
    problem: str

    @property
    def thing(self) -> str:
        return self.of

    @property
    def detail(self) -> str:
        return self.problem


@dataclass(frozen=True)
class Undeclared(Action):
    """Listed only: removed when named."""

    sign = "?"
    of: str
    note: str = ""

    @property
    def thing(self) -> str:
        return self.of

    @property
    def detail(self) -> str:
        return f"not declared, kept{self.note}; to remove it: --data remove={self.of}"
