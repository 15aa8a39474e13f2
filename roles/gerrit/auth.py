"""How people log in to Gerrit by browser: what can be set of it, and what Gerrit is told.

Git over https and programs never log in so: they have tokens that Gerrit gives (`gitBasicAuthPolicy = HTTP`). Whoever
logs in by HTTP or LDAP is the account with the external id `gerrit:NAME`, so that it stays the same when the type
changes. Where another has the user name, the login is refused (3.13.5): so nobody comes as ACCOUNT, which has none.
"""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from inventories.errors import InputError
from inventories.inventory import LoadedSite
from inventories.typed import THIS_MACHINE, Typed
from roles.gerrit.config_text import Plain
from roles.gerrit.secure import ACCOUNT

USER = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
UserName = Annotated[str, Field(pattern=f"^{USER}$")]
HASH = r"\$6\$(rounds=\d{4,6}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}|\$2[by]\$(0[4-9]|1[0-2])\$[./A-Za-z0-9]{53}"
"""What crypt(3) of Debian 13 checks: sha512-crypt, and bcrypt of a cost that does not hold nginx up."""
LINE = re.compile(f"({USER}):({HASH})")
FILTER = r"^(\([^\x00-\x1f]+\))?$"


class Person(Typed):
    """What Gerrit is told of somebody at each login."""

    name: str = Field(pattern=r'^[^"\\$\x00-\x1f\x7f]+$')
    email: str = Field(pattern=r"^[^\s\"\\$@]+@[^\s\"\\$@]+$")


class HttpAuth(Typed):
    """nginx asks for name and password."""

    type: Literal["http"] = "http"
    passwords: str = ""
    """Name of the secret with a line `NAME:HASH` for each person, as `mkpasswd -m sha512crypt` makes the hash. Empty:
    nobody logs in by browser."""
    people: dict[UserName, Person] = {}
    """By user name. Who is not here has the name and address that the account has already."""


class LdapAuth(Typed):
    """Gerrit asks for name and password, and a directory whether they are right."""

    type: Literal["ldap"]
    server: str = Field(pattern=r"^ldaps?://[A-Za-z0-9.:\[\]-]+$")
    """Its certificate is checked against Debian's authorities, and those in /usr/local/share/ca-certificates."""
    starttls: bool = False
    """For ldap://, which is refused without, but for this machine."""
    username: str = ""
    """The DN that Gerrit searches as. Empty: nobody's."""
    password: str = ""
    """Name of the secret with its password."""
    account_base: str = Field(min_length=1)
    """DN below which people are."""
    user_attribute: str = Field(default="uid", pattern=r"^[A-Za-z][A-Za-z0-9-]*$")
    """That holds the user name; `sAMAccountName` in an Active Directory."""
    account_filter: str = Field(default="", pattern=FILTER)
    """Who may log in besides having a password, such as `(memberOf=cn=developers,ou=groups,dc=example,dc=org)`."""
    full_name: str = "cn"
    """Attribute, or a text with attributes: `${givenName} ${sn}`."""
    email: str = "mail"
    """The same."""
    group_base: str = ""
    """DN below which groups are. Default: account_base."""
    group_members: str = Field(default="", pattern=FILTER)
    """Which groups somebody is in: `(member=${dn})` for groupOfNames. Empty: what Gerrit takes for the kind of server,
    `(|(memberUid=${username})(gidNumber=${gidNumber}))` for posixGroup."""

    @model_validator(mode="after")
    def _passwords_are_protected(self) -> Self:
        url = urlsplit(self.server)
        if self.starttls and url.scheme == "ldaps":
            raise ValueError("starttls: ldaps:// begins with TLS already")
        if url.scheme == "ldap" and not self.starttls and url.hostname not in THIS_MACHINE:
            raise ValueError("server: passwords go there: ldaps://, or starttls = true")
        if bool(self.username) != bool(self.password):
            raise ValueError("username and password go together")
        return self

    def section(self) -> dict[str, Plain]:
        """Of gerrit.config, without the password."""
        own = f"({self.user_attribute}=${{username}})"
        found: dict[str, Plain] = {
            "server": self.server,
            "startTls": self.starttls,
            "sslVerify": True,
            "accountBase": self.account_base,
            "accountPattern": f"(&{own}{self.account_filter})" if self.account_filter else own,
            "accountSshUserName": f"${{{self.user_attribute}.toLowerCase}}",
            "accountFullName": self.full_name,
            "accountEmailAddress": self.email,
            "localUsernameToLowerCase": True,
            "groupBase": self.group_base or self.account_base,
            "connectTimeout": "10 s",
            "readTimeout": "30 s",
        }
        if self.username:
            found["username"] = self.username
        if self.group_members:
            found["groupMemberPattern"] = self.group_members
        return found


class OAuth(Typed):
    """A plugin leads to a provider that knows people: a declared one, with a section `plugin "NAME-..."`."""

    type: Literal["oauth"]


Auth = Annotated[HttpAuth | LdapAuth | OAuth, Field(discriminator="type")]


def sections(auth: Auth, name: str) -> dict[str, dict[str, Plain]]:
    """Of gerrit.config, without secrets; name: of the server."""
    told: dict[str, dict[str, Plain]] = {"auth": {"type": auth.type.upper(), "gitBasicAuthPolicy": "HTTP"}}
    if isinstance(auth, HttpAuth):
        # The header by which nginx tells who somebody is has a name that secure.config knows alone. Without the
        # address to go on to, who logs out would be led to log in.
        told["auth"] |= {
            "httpDisplaynameHeader": "X-Gerrit-Name",
            "httpEmailHeader": "X-Gerrit-Email",
            "logoutUrl": f"https://{name}/q/status:open",
        }
    if isinstance(auth, LdapAuth):
        told["ldap"] = auth.section()
    return told


def password_file(site: LoadedSite, auth: Auth) -> str:
    """What nginx checks passwords by, if it does. Raises InputError for a line that it could not check."""
    if not isinstance(auth, HttpAuth) or not auth.passwords:
        return ""
    lines = site.secrets[auth.passwords].get_secret_value().split()
    hint = "`mkpasswd -m sha512crypt` makes a hash: NAME:HASH"
    seen = set()
    for number, line in enumerate(lines, 1):
        match = LINE.fullmatch(line)
        if not match:
            raise InputError(site.secrets.path, auth.passwords, f"line {number} is not NAME:HASH", hint)
        name = match[1].lower()
        if name == ACCOUNT:
            problem = f"line {number} is of {ACCOUNT}, which is no person: it administers Gerrit, by its token"
            raise InputError(site.secrets.path, auth.passwords, problem, "give people names of their own")
        if name in seen:
            raise InputError(site.secrets.path, auth.passwords, f"line {number} is of somebody who was there before")
        seen.add(name)
    return "".join(f"{line}\n" for line in lines)
