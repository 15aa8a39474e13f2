"""Makes and unmakes hosts with everything an engine can give them, saying what comes next, until it is killed."""

import itertools
import sys
from collections.abc import Callable

from lab import lifecycle
from lab.engine import Machine
from lab.hosts import LabEngine
from tests.e2e.engine_hosts import EngineHosts, address

STEPS: dict[str, Callable[[LabEngine, Machine, Machine], object]] = {
    "create": lambda engine, machine, _: engine.create(machine),
    "create_disk": lambda engine, machine, _: engine.create_disk(f"disk-{machine.id}", 10),
    "attach_disk": lambda engine, machine, _: engine.attach_disk(machine.id, f"disk-{machine.id}", "serial"),
    "start": lambda engine, machine, _: engine.start(machine),
    "set_firewall": lambda engine, machine, _: engine.set_firewall({address(machine): ()}),
    "create_snapshot": lambda engine, machine, _: engine.create_snapshot(machine.id, f"snapshot-{machine.id}"),
    "set_nics": lambda engine, _, plain: engine.set_nics(plain),
    "fill_disk": lambda engine, machine, _: engine.fill_disk(machine.id, full=True),
    "stop": lambda engine, machine, _: engine.stop(machine.id),
    "start_again": lambda engine, _, plain: engine.start(plain),
    "reinstall": lambda engine, _, plain: engine.reinstall(plain),
    "destroy": lambda engine, machine, _: engine.destroy(machine.id),
}
"""What is called, in this order, with the engine, a machine, and the same machine without its VPC."""


def main(name: str) -> None:
    config = lifecycle.find(name)
    assert config is not None
    hosts = EngineHosts(config)
    hosts.engine.prepare()
    for number in itertools.count(10):
        for step, call in STEPS.items():
            print(step, flush=True)
            call(hosts.engine, hosts.machine(number, vpc="vpc-a"), hosts.machine(number))


if __name__ == "__main__":
    main(sys.argv[1])
