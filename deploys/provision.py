"""Brings the site's hosts, volumes, networks and names into being, and tells what it will not touch.

    pyinfra inventories/lab.py deploys/provision.py [--dry] [--data remove=host/NAME,volume/HOST/NAME]

The other switches: cloud/switches.py.
"""

from pyinfra.context import host, inventory

from cloud.provision import provision
from cloud.switches import parse

site = host.data.site
provision(name="Provision", site=site, switches=parse(inventory.override_data, site.path))
