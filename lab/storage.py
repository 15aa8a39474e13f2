"""The lab's S3 storage, where the second copy of backups lies: a real server (Versity's gateway) and one bucket.

One process a lab, on the gateway's address, so that hosts reach it too. `up` starts it and `down` ends it; all it has
lies in ROOT/storage. The bucket is as a good provider's: it keeps every version, under object lock; of its two keys the
control side's adds and deletes nothing but locks, the admins' deletes, and neither takes away a version.
"""

import fcntl
import json
import os
import secrets
import signal
import time
from pathlib import Path

import requests

from backup.certificate import new_key, self_signed
from inventories.files import replace
from lab import process
from lab.engine import EngineError, LabConfig
from lab.go import go, run
from lab.s3 import S3

VERSION = "1.8.0"
MODULE = "github.com/versity/versitygw/cmd/versitygw"
PROGRAMS = Path.home() / ".cache/mainstay/versitygw"
PORT = 7070
BUCKET = "mainstay"
USERS = ("copy", "copy_admin")
"""Start of the names of the secrets with their keys."""
WAIT_S = 30
BY_BOTH = ["s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject", "s3:PutObject"]
LOCK = """<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<ObjectLockEnabled>Enabled</ObjectLockEnabled>
<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule>
</ObjectLockConfiguration>"""


def program() -> Path:
    """Where the gateway is, or will be."""
    return PROGRAMS / VERSION


def build() -> None:
    """Builds the gateway from source, once for this machine: some minutes. Raises EngineError."""
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    with (PROGRAMS / "building").open("w") as building:
        fcntl.flock(building, fcntl.LOCK_EX)
        if not program().exists():
            fresh = PROGRAMS / "fresh"
            run(go(), "install", f"{MODULE}@v{VERSION}", cwd=PROGRAMS, GOBIN=str(fresh), GOTOOLCHAIN="local")
            (fresh / "versitygw").rename(program())


def endpoint(config: LabConfig) -> str:
    """As the lab's hosts and this machine reach it."""
    return f"https://{config.gateway4}:{PORT}"


def keys(config: LabConfig) -> dict[str, str]:
    """The secrets that open it, by the names that a site has them under."""
    return {name: value for name, value in _held(config).items() if not name.startswith("root")}


def tls(config: LabConfig) -> tuple[Path, Path]:
    """The files of the certificate of the lab's gateway address, which its users have to trust, and of its key."""
    pem, key = (_folder(config) / f"storage.{kind}" for kind in ("pem", "key"))
    if not pem.exists():
        replace(key, new_key(), 0o600)
        replace(pem, self_signed(key.read_text(), (str(config.gateway4),)))
    return pem, key


def start(config: LabConfig) -> None:
    """Starts it, with its bucket, unless it runs. Needs the bridge. Raises EngineError."""
    folder = _folder(config)
    if not _pid(config):
        build()
        tls(config)
        _start(config, folder)
    held = _held(config)
    root = S3(endpoint(config), held["root_access_key"], held["root_secret_key"], folder / "storage.pem")
    _wait(config, root, folder / "log")
    _make_bucket(root, held)


def stop(config: LabConfig) -> None:
    """Ends it, if it runs. What it holds stays, and what was acknowledged is on disk. Raises EngineError."""
    process.end(config.root / "storage/pid", _word(config), "the lab's S3 server")


def pause(config: LabConfig, paused: bool) -> None:
    """Has it hang, or go on: what a slow provider looks like."""
    os.kill(_pid(config), signal.SIGSTOP if paused else signal.SIGCONT)


def _folder(config: LabConfig) -> Path:
    folder = config.root / "storage"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _held(config: LabConfig) -> dict[str, str]:
    """All keys, made when first asked for."""
    file = _folder(config) / "keys.json"
    if not file.exists():
        names = [f"{user}_{kind}_key" for user in (*USERS, "root") for kind in ("access", "secret")]
        replace(file, json.dumps({name: secrets.token_hex(20) for name in names}), 0o600)
    found: dict[str, str] = json.loads(file.read_text())
    return found


def _pid(config: LabConfig) -> int:
    return process.running(config.root / "storage/pid", _word(config))


def _word(config: LabConfig) -> str:
    return str(config.root / "storage/data")


def _start(config: LabConfig, folder: Path) -> None:
    held = _held(config)
    for name in ("data", "versions", "users"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    pairs = [(held[f"{user}_access_key"], held[f"{user}_secret_key"]) for user in USERS]
    accounts = {access: {"access": access, "secret": secret, "role": "user"} for access, secret in pairs}
    replace(folder / "users/users.json", json.dumps({"accessAccounts": accounts}), 0o600)
    words = [
        str(program()),
        f"--port={config.gateway4}:{PORT}",
        f"--cert={folder / 'storage.pem'}",
        f"--key={folder / 'storage.key'}",
        f"--iam-dir={folder / 'users'}",
        "--quiet",
        "posix",
        f"--versioning-dir={folder / 'versions'}",
        _word(config),
    ]
    environment = {"ROOT_ACCESS_KEY": held["root_access_key"], "ROOT_SECRET_KEY": held["root_secret_key"]}
    process.start(folder / "pid", words, environment, folder / "log")


def _wait(config: LabConfig, root: S3, log: Path) -> None:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            root.ask("GET", "/")
        except requests.ConnectionError:
            if _pid(config) and time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            said = log.read_text(errors="replace").strip()[-2000:]
            what = f"the lab's S3 server does not answer at {root.endpoint}; {log} ends with:\n{said}"
            raise EngineError(what) from None
        else:
            return


def _make_bucket(root: S3, held: dict[str, str]) -> None:
    control, admin = (held[f"{user}_access_key"] for user in USERS)
    more = ["s3:DeleteObject", "s3:ListBucketVersions", "s3:GetObjectVersion"]
    may = [_may(control, BY_BOTH), _may(control, ["s3:DeleteObject"], "*/locks/*"), _may(admin, [*BY_BOTH, *more])]
    policy = json.dumps({"Version": "2012-10-17", "Statement": may})
    with_lock = {"x-amz-bucket-object-lock-enabled": "true"}
    for answer in (
        root.ask("PUT", f"/{BUCKET}", headers=with_lock),
        root.ask("PUT", f"/{BUCKET}", {"policy": ""}, policy.encode()),
        root.ask("PUT", f"/{BUCKET}", {"object-lock": ""}, LOCK.encode()),
    ):
        if not answer.ok and answer.status_code != requests.codes.conflict:
            raise EngineError(f"the lab's S3 server refused its bucket: {answer.status_code} {answer.text}")


def _may(user: str, actions: list[str], keys: str = "*") -> dict[str, object]:
    return {
        "Effect": "Allow",
        "Principal": {"AWS": [user]},
        "Action": actions,
        "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/{keys}"],
    }
