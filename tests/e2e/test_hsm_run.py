"""`mainstay hsm run`: a command that uses a device, with the log in custody before and after."""

import os
import subprocess
import sys

from cloud.converge import REPOSITORY
from roles.signing.tools.errors import INCIDENT
from tests.hsm_changes import (
    freed,
)
from tests.hsm_site import PASSWORDS, Site


def signing(one: Site, times: int) -> list[str]:
    """A program that signs, as yubihsm-shell does."""
    code = (
        "import sys; from yubihsm import YubiHsm; from yubihsm.objects import AsymmetricKey\n"
        "with YubiHsm.connect(sys.argv[1]) as hsm, hsm.create_session_derived(1, sys.argv[2]) as opened:\n"
        "    [AsymmetricKey(opened, 0x0101).sign_ecdsa(b'x') for _ in range(int(sys.argv[3]))]\n"
    )
    return ["--", ".venv/bin/python", "-c", code, one.primary.url, PASSWORDS["signing"], str(times)]


def test_a_command_runs_with_room_and_its_entries_are_in_custody_afterwards(hsm: Site) -> None:
    for _ in range(3):
        done = hsm.mainstay("run", *signing(hsm, 25))
        assert done.code == 0, done
    verified = hsm.mainstay("verify", "--json")
    assert verified.told["logs"][0]["signatures"] == {"sign-ecdsa@0x0101": 75}


def test_where_the_log_has_not_room_it_is_drained_before(hsm: Site) -> None:
    hsm.primary.fault("full_log")
    assert hsm.mainstay("run", *signing(hsm, 25)).code == 0
    assert hsm.mainstay("verify", "--json").told["logs"][0]["signatures"] == {"sign-ecdsa@0x0101": 25}


def test_the_exit_code_is_the_commands_and_the_log_is_drained_all_the_same(hsm: Site) -> None:
    hsm.primary.sign()
    assert hsm.mainstay("run", "--", "sh", "-c", "exit 7").code == 7
    assert hsm.mainstay("verify", "--json").told["logs"][0]["signatures"] == {"sign-ecdsa@0x0101": 1}
    assert hsm.mainstay("run", "--", "no-such-program").code == 2


def test_unplugged_by_the_command_its_entries_come_with_the_next_drain(hsm: Site) -> None:
    hsm.primary.fault("unplug", command="SIGN_ECDSA", when="after")
    done = hsm.mainstay("run", *signing(hsm, 1))
    assert done.code == 1
    assert "the log was not drained after it" in done.said
    hsm.primary.device.undo_faults()
    assert hsm.mainstay("drain").code == 0
    assert hsm.mainstay("verify", "--json").told["logs"][0]["signatures"] == {"sign-ecdsa@0x0101": 1}


def test_no_password_reaches_the_command(hsm: Site) -> None:
    """Neither by a descriptor nor by its environment; nor does any stand on a command line."""
    read, write = os.pipe()
    os.write(write, PASSWORDS["audit"].encode())
    os.close(write)
    look = "cat /proc/self/environ /proc/$PPID/environ /proc/$PPID/cmdline | tr '\\0' ' '; ls -l /proc/self/fd | wc -l"
    words = ["hsm", "run", "--file", str(hsm.file), "--password-fd", str(read), "--", "sh", "-c", look]
    done = hsm.program(*words, pass_fds=(read,))
    os.close(read)
    assert done.code == 0, done
    assert PASSWORDS["audit"] not in done.out + done.said
    assert done.out.split()[-1] == "5"


def test_around_a_call_nothing_is_loaded_that_takes_long(hsm: Site) -> None:
    code = (
        "import sys; from roles.signing.tools.custody.__main__ import main\n"
        "code = main()\n"
        "print(code, {'typer', 'pydantic', 'pyinfra', 'paramiko', 'gevent'} & set(sys.modules))\n"
    )
    hsm.primary.sign()
    done = hsm.program(*hsm.words("run", "--", "true")[2:], before=("-c", code))
    assert (done.code, done.out) == (0, "0 set()\n"), done
    assert hsm.mainstay("verify", "--json").told["logs"][0]["signatures"] == {"sign-ecdsa@0x0101": 1}


def test_what_speaks_to_devices_is_loaded_while_the_command_runs() -> None:
    """It takes longer than all else, and the device is there before."""
    script = "import sys; import roles.signing.tools.custody.__main__\n"
    script += "print({'yubihsm', 'cryptography', 'requests'} & set(sys.modules))"
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_script_for_scripts_ends_as_the_command_does(hsm: Site) -> None:
    words = hsm.words("run")[2:]
    script = str(REPOSITORY / "bin/hsm-run")

    def ended(*more: str) -> tuple[int, str]:
        done = subprocess.run([script, *words, *more], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert ended("--", "sh", "-c", "exit 7")[0] == 7
    assert ended("--device", "spare", "--", "true")[0] == 2
    freed(hsm)
    code, told = ended("--", "true")
    assert (code, "INCIDENT" in told) == (INCIDENT, True)
    hsm.primary.fault("unplug")
    assert ended("--", "true")[0] == 3
