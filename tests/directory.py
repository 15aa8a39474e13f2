"""A directory of people on a host: slapd by TLS, on loopback, which nobody may read without a password."""

import textwrap

from backup.certificate import new_key, self_signed
from tests.saved_site import Saved

NAME = "directory.lab.example.org"
SEARCHER, PASSWORD = "cn=gerrit,dc=example,dc=org", "of the searcher"
PEOPLE, GROUPS = "ou=people,dc=example,dc=org", "ou=groups,dc=example,dc=org"
DEVELOPERS = f"cn=developers,{GROUPS}"
TRUSTED = "/usr/local/share/ca-certificates/directory.crt"
SLAPD = f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile /run/slapd/slapd.pid
TLSCertificateFile /etc/ldap/tls.pem
TLSCertificateKeyFile /etc/ldap/tls.key
database mdb
suffix "dc=example,dc=org"
directory /var/lib/directory
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{SEARCHER}" read by self read by anonymous auth by * none
"""
START = """
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update && apt-get -qq install --no-install-recommends slapd >/dev/null 2>&1
systemctl stop slapd
umask 077
cat >/etc/ldap/slapd.conf <<'EOF'
{conf}EOF
cat >/etc/default/slapd <<'EOF'
SLAPD_CONF=/etc/ldap/slapd.conf
SLAPD_USER=openldap
SLAPD_GROUP=openldap
SLAPD_SERVICES="ldaps://127.0.0.1/"
EOF
cat >/etc/ldap/tls.pem <<'EOF'
{pem}EOF
cat >/etc/ldap/tls.key <<'EOF'
{key}EOF
install -d -o openldap -g openldap /var/lib/directory
slapadd -q -f /etc/ldap/slapd.conf <<'EOF'
{entries}EOF
chown -R openldap:openldap /etc/ldap /var/lib/directory
grep -q {name} /etc/hosts || echo 127.0.0.1 {name} >>/etc/hosts
systemctl start slapd
"""


def _person(name: str, password: str) -> str:
    return textwrap.dedent(f"""\
        dn: uid={name},{PEOPLE}
        objectClass: inetOrgPerson
        uid: {name}
        cn: {name.capitalize()} of the directory
        sn: {name.capitalize()}
        mail: {name}@example.org
        userPassword: {password}

        """)


def _entries(passwords: dict[str, str], developers: tuple[str, ...]) -> str:
    top = textwrap.dedent(f"""\
        dn: dc=example,dc=org
        objectClass: dcObject
        objectClass: organization
        dc: example
        o: Example

        dn: {SEARCHER}
        objectClass: organizationalRole
        objectClass: simpleSecurityObject
        cn: gerrit
        userPassword: {PASSWORD}

        dn: {PEOPLE}
        objectClass: organizationalUnit
        ou: people

        dn: {GROUPS}
        objectClass: organizationalUnit
        ou: groups

        """)
    members = "".join(f"member: uid={name},{PEOPLE}\n" for name in developers)
    group = f"dn: {DEVELOPERS}\nobjectClass: groupOfNames\ncn: developers\n{members}"
    return top + "".join(_person(*one) for one in passwords.items()) + group


def start(site: Saved, host: str, passwords: dict[str, str], developers: tuple[str, ...]) -> str:
    """Starts it with these people, some of whom are in the group DEVELOPERS. Its certificate, which nobody trusts."""
    key = new_key()
    pem = self_signed(key, (NAME,))
    entries = _entries(passwords, developers)
    site.root(host, START.format(conf=SLAPD, pem=pem, key=key, entries=entries, name=NAME))
    return pem


def trust(site: Saved, host: str, pem: str) -> None:
    site.root(host, f"cat >{TRUSTED} <<'EOF'\n{pem}EOF\nupdate-ca-certificates >/dev/null 2>&1")
