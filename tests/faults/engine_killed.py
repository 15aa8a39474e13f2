"""Makes and unmakes hosts with everything an engine can give them, until `test_engine_sweep` kills it."""

import itertools
import sys

from lab import lifecycle
from tests.e2e.engine_hosts import EngineHosts


def main(name: str) -> None:
    config = lifecycle.find(name)
    assert config is not None
    hosts = EngineHosts(config)
    engine = hosts.engine
    engine.prepare()
    print("prepared", flush=True)
    for number in itertools.count(10):
        machine = hosts.machine(number, vpc="vpc-a")
        disk = f"disk-{number}"
        engine.create(machine)
        engine.create_disk(disk, 10)
        engine.attach_disk(machine.id, disk, disk)
        engine.start(machine)
        engine.set_firewall({str(machine.nics[0].ipv4[0].ip): ()})
        engine.create_snapshot(machine.id, f"snapshot-{number}")
        engine.set_nics(hosts.machine(number))
        engine.stop(machine.id, force=bool(number % 2))
        engine.start(machine)
        if number % 2:
            engine.destroy(machine.id)


if __name__ == "__main__":
    main(sys.argv[1])
