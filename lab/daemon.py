"""The lab's one process: API, metadata service, name servers, package cache, mail sink and git repositories.

It may be killed at any moment: hosts go on without it, and the next one adopts them and ends what was begun.
`python -m lab.daemon NAME`; `lab.lifecycle` starts and stops it.
"""

import asyncio
import fcntl
import logging
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from lab import lifecycle, mail, repositories, services, storage
from lab.api import blocks, metadata, names, server, snapshots
from lab.api.actions import ACTIONS
from lab.api.cloud import Cloud
from lab.api.store import ACCOUNTS, Store
from lab.engine import LabConfig
from lab.hosts import LabEngine
from lab.network import bridge

log = logging.getLogger("lab.daemon")

METADATA_ADDRESS, METADATA_PORT = "169.254.169.254", 80
RATE_LIMIT_VARIABLE = "MAINSTAY_LAB_RATE_LIMIT"


def claim(path: Path) -> TextIO | None:
    """The pid file, locked for as long as this process lives; None when another process has it."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


async def run(config: LabConfig) -> None:
    """Serves until SIGTERM or SIGINT."""
    engine = LabEngine(config)
    engine.prepare()
    store = Store(config.root / "cloud.db")
    cloud = Cloud(store, engine, ACTIONS)
    rate_limit = int(os.environ.get(RATE_LIMIT_VARIABLE, server.RATE_LIMIT))
    app = server.app(cloud, {account: lifecycle.api_key(config, account) for account in ACCOUNTS}, rate_limit)
    api, api_tls = server.Server(app), server.Server(app, storage.tls(config))
    meta = server.Server(metadata.app(cloud))
    static = StaticFiles(directory=repositories.folder(config), check_dir=False)
    files = server.Server(Starlette(routes=[Mount("/", static)]))
    gateways = [str(config.gateway4), str(config.gateway6)]
    api_sockets = [server.listen(address, config.api_port) for address in ("127.0.0.1", *gateways)]
    tls_sockets = [server.listen(str(config.gateway4), config.https_port)]
    meta_sockets = [server.listen(METADATA_ADDRESS, METADATA_PORT, device=bridge(config))]
    files_sockets = [server.listen(address, repositories.PORT) for address in gateways]
    resolvers = names.serve(names.Names(store, config, names.machine_resolvers()), gateways)
    with ExitStack() as stack:
        stack.callback(cloud.close)
        for resolver in resolvers:
            stack.callback(resolver.stop)
        services.use_cache(config)
        stack.enter_context(mail.received(config))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: server.stop(api, api_tls, meta, files))
        blocks.resume(cloud)
        snapshots.resume(cloud)
        cloud.resume()
        log.info("lab %s answers at %s", config.name, config.api_url)
        serving = [(api, api_sockets), (api_tls, tls_sockets), (meta, meta_sockets), (files, files_sockets)]
        await server.serve(serving)


def main(name: str) -> int:
    """Exit code 0, also when another process already serves this lab; 1 when there is no such lab."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    config = lifecycle.find(name)
    if config is None:
        log.error("no lab %r: `mainstay lab up --name %s` makes it", name, name)
        return 1
    claimed = claim(config.root / "daemon.pid")
    if claimed is None:
        return 0
    asyncio.run(run(config))
    claimed.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
