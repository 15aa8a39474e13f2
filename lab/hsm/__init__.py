"""A simulated YubiHSM 2: the device's side of its protocol, over HTTP in its connector's place and over USB.

It is a SIMULATOR, for rehearsals and tests: keys lie in a file, readable by whoever reads the file. It says so when it
starts, in its connector's status, in its certificate and in its serial number, which no real device has.

`python -m lab.hsm --state FOLDER --port PORT`; lab/hsm/service.py starts it as the lab's other programs.

The protocol: https://docs.yubico.com/hardware/yubihsm-2/hsm-2-user-guide/hsm2-cmd-reference.html
"""
