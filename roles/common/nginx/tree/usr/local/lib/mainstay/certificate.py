"""Keeps the certificate of this host's web server: whether one is due, getting it, putting it in service.

    certificate.py              gets one that is due, and has nginx take it up
    certificate.py due          says why one is due, or nothing
    certificate.py placeholder  signs one itself where there is none, so that nginx starts

What is wanted says /etc/mainstay/certificate/plan.json. Key and chain are one file, replaced by one rename: no key ever
lies beside another's chain. A line before them says who issued them. The key is made here and leaves the host never.
"""

import fcntl
import grp
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

PLAN = Path("/etc/mainstay/certificate")
STATE = Path("/var/lib/mainstay/tls")
READER = "www-data"
"""nginx was never root: its group reads the key."""
DNS_CHALLENGE = "/usr/bin/python3 -I /usr/local/lib/mainstay/dns_challenge.py"
ITSELF = "itself"
"""Who issued what the host signed."""
SELF_SIGNED_DAYS = 90
PATIENCE_S = 900
ISSUER = re.compile(r"^Issued by: (\S+)$", re.MULTILINE)
LOG = STATE / "acme/log/letsencrypt.log"
CHATTER = re.compile(
    r"\s*$|Saving debug log|Account registered|Requesting a certificate|An unexpected error|Certbot failed to auth"
    r"|Hint:|Some challenges have failed|Ask for help"
)
"""Lines of certbot that say nothing of what went wrong, or know this host badly (4.0)."""
NO_ACCOUNT = "urn:ietf:params:acme:error:accountDoesNotExist"
WORK = ("key.pem", "csr.pem", "chain.pem", "leaf.pem", "intermediates.pem")
"""Files of a run, below `acme`."""


class Failure(Exception):
    """What went wrong, for people."""


@dataclass(frozen=True)
class Plan:
    """What is wanted. directory: of the authority, by ACME; email: whom it may write to."""

    names: tuple[str, ...]
    challenge: str
    directory: str
    email: str

    @property
    def issuer(self) -> str:
        return ITSELF if self.challenge == "none" else self.directory


@dataclass(frozen=True)
class Held:
    """A certificate with its key."""

    names: frozenset[str]
    begins: datetime
    ends: datetime
    issuer: str
    trusted: bool
    """By the authorities of roots.pem, where that is there: the lab's are new each time."""


def read_plan() -> Plan:
    told = json.loads((PLAN / "plan.json").read_text())
    return Plan(tuple(told["names"]), told["challenge"], told["directory"], told["email"])


def openssl(*words: str, given: str = "") -> str:
    """Raises Failure."""
    done = subprocess.run(["openssl", *words], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"openssl {words[0]}: {done.stderr.strip()}")
    return done.stdout


def look(path: Path) -> Held | None:
    """What lies there; None where that is no certificate with its key."""
    try:
        text = path.read_text()
        if openssl("pkey", "-pubout", given=text) != openssl("x509", "-noout", "-pubkey", given=text):
            return None
        words = ("-startdate", "-enddate", "-dateopt", "iso_8601", "-ext", "subjectAltName")
        shown = openssl("x509", "-noout", *words, given=text)
        begins, ends = (_time(shown, field) for field in ("notBefore", "notAfter"))
    except (OSError, UnicodeDecodeError, Failure):
        return None
    issuer = ISSUER.search(text)
    names = frozenset(re.findall(r"DNS:([^\s,]+)", shown))
    return Held(names, begins, ends, issuer[1] if issuer else "", trusted(path))


def _time(shown: str, field: str) -> datetime:
    match = re.search(rf"^{field}=(\S+ \S+)Z$", shown, re.MULTILINE)
    if not match:
        raise Failure(f"openssl x509: no {field}")
    return datetime.fromisoformat(match[1]).replace(tzinfo=UTC)


def trusted(path: Path) -> bool:
    roots = PLAN / "roots.pem"
    if not roots.exists():
        return True
    words = ["openssl", "verify", "-no_check_time", "-CAfile", str(roots), "-untrusted", str(path), str(path)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def due(plan: Plan, held: Held | None, now: datetime) -> str:
    """Why another certificate is due; empty if none is."""
    if held is None:
        return "there is none"
    if held.issuer != plan.issuer:
        return f"it was issued by {held.issuer or 'nobody known'}, not by {plan.issuer}"
    if held.names != frozenset(plan.names):
        return f"it is for {', '.join(sorted(held.names)) or 'no name'}, not for {', '.join(sorted(plan.names))}"
    if plan.issuer != ITSELF and not held.trusted:
        return "it is of an authority that is no longer trusted"
    if held.ends - now < (held.ends - held.begins) / 3:
        return f"{'it ended' if held.ends < now else 'it ends'} on {held.ends:%Y-%m-%d %H:%M}"
    return ""


def new_key() -> str:
    return openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


def alternative(names: Sequence[str]) -> str:
    return f"subjectAltName=critical,{','.join(f'DNS:{name}' for name in names)}"


def self_signed(plan: Plan) -> str:
    """Key and certificate, as they are put in place."""
    key = new_key()
    words = ["req", "-x509", "-new", "-key", "/dev/stdin", "-days", str(SELF_SIGNED_DAYS), "-subj", "/"]
    extensions = (alternative(plan.names), "basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature")
    for extension in extensions:
        words += ["-addext", extension]
    return f"Issued by: {ITSELF}\n{key}{openssl(*words, given=key)}"


def issued(plan: Plan) -> str:
    """Key and chain from the authority, as they are put in place. Raises Failure."""
    acme = STATE / "acme"
    for name in WORK:
        (acme / name).unlink(missing_ok=True)
    key = new_key()
    (acme / "key.pem").write_text(key)
    request = openssl("req", "-new", "-key", str(acme / "key.pem"), "-subj", "/", "-addext", alternative(plan.names))
    (acme / "csr.pem").write_text(request)
    ask(plan, acme)
    return f"Issued by: {plan.issuer}\n{key}{(acme / 'chain.pem').read_text()}"


def ask(plan: Plan, acme: Path) -> None:
    """Has the authority answer the request, by an account of now where it knows that of before no more.

    Raises Failure.
    """
    said = certbot(plan, acme)
    if said and NO_ACCOUNT in LOG.read_text():
        shutil.rmtree(acme / "config/accounts")
        said = certbot(plan, acme)
    if said:
        raise Failure(f"{plan.directory} gave no certificate:\n{said}")


def certbot(plan: Plan, acme: Path) -> str:
    """Fetches the chain for the request, and says why it could not. It writes over no file that is there (4.0)."""
    words = ["certbot", "certonly", "--non-interactive", "--agree-tos", "--server", plan.directory]
    words += ["--email", plan.email] if plan.email else ["--register-unsafely-without-email"]
    for option, folder in (("--config-dir", "config"), ("--work-dir", "work"), ("--logs-dir", "log")):
        words += [option, str(acme / folder)]
    words += ["--max-log-backups", "10", "--csr", str(acme / "csr.pem")]
    words += ["--fullchain-path", str(acme / "chain.pem"), "--cert-path", str(acme / "leaf.pem")]
    words += ["--chain-path", str(acme / "intermediates.pem")]
    if plan.challenge == "dns-01":
        hooks = ("--manual-auth-hook", f"{DNS_CHALLENGE} add", "--manual-cleanup-hook", f"{DNS_CHALLENGE} remove")
        words += ["--manual", "--preferred-challenges", "dns", *hooks]
    else:
        words += ["--webroot", "--webroot-path", str(STATE / "challenges")]
    authority = PLAN / "acme.pem"
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8"}
    environment |= {"REQUESTS_CA_BUNDLE": str(authority)} if authority.exists() else {}
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE_S} s"
    return reason(done.stdout) or f"certbot ends with {done.returncode}: {LOG}" if done.returncode else ""


def reason(said: str) -> str:
    """What went wrong, of all that certbot says."""
    return "\n".join(line.rstrip() for line in said.splitlines() if not CHATTER.match(line))


def put(text: str, staged: Path, plan: Plan) -> None:
    """Checks what is to be served, and puts it in place: after a loss of power it is there whole, or not at all.

    Raises Failure.
    """
    staged.unlink(missing_ok=True)
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(text)
        out.flush()
        os.fchown(handle, -1, grp.getgrnam(READER).gr_gid)
        os.fchmod(handle, 0o640)
        os.fsync(handle)
    if wrong := due(plan, look(staged), datetime.now(UTC)):
        staged.unlink()
        raise Failure(f"what was issued is not what was asked for: {wrong}")
    staged.rename(STATE / "site.pem")
    folder = os.open(STATE, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def take_up() -> None:
    """Has nginx read what lies there, if a run has changed it: this one, or an earlier one that died before it could.

    Raises Failure.
    """
    waiting = STATE / "acme" / "reload"
    if not waiting.exists():
        return
    words = ["systemctl", "--no-ask-password", "try-reload-or-restart", "nginx.service"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"nginx does not take up the certificate: {done.stderr.strip()}")
    waiting.unlink()


def renew(plan: Plan) -> None:
    """Raises Failure."""
    take_up()
    why = due(plan, look(STATE / "site.pem"), datetime.now(UTC))
    if not why:
        return
    print(f"a certificate is due: {why}", flush=True)
    text = self_signed(plan) if plan.issuer == ITSELF else issued(plan)
    (STATE / "acme" / "reload").touch()
    put(text, STATE / "new.pem", plan)
    for name in WORK:
        (STATE / "acme" / name).unlink(missing_ok=True)
    take_up()
    print(f"in service: a certificate for {', '.join(plan.names)}, issued by {plan.issuer}")


def alone() -> int:
    """Waits until no other run is at it; the lock ends with the process."""
    handle = os.open(STATE / "acme" / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def placeholder(plan: Plan) -> None:
    """Waits for no run: one that is under way needs nginx."""
    if look(STATE / "site.pem") is None:
        put(self_signed(plan), STATE / "placeholder.pem", Plan(plan.names, "none", "", ""))


def main(words: Sequence[str]) -> None:
    os.umask(0o077)
    if missing := [program for program in ("openssl",) if not shutil.which(program)]:
        raise Failure(f"{missing[0]} is not installed")
    plan = read_plan()
    match words:
        case ["due"]:
            if why := due(plan, look(STATE / "site.pem"), datetime.now(UTC)):
                print(why)
        case ["placeholder"]:
            placeholder(plan)
        case []:
            alone()
            renew(plan)
        case _:
            raise Failure(f"unknown: {' '.join(words)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Failure, OSError) as error:
        sys.exit(str(error))
