"""Kernel and network settings of every host. Pure.

A key with `*` is set for every interface there is, for `all`, and for `default`: those to come. An interface does not
follow `all` in each setting, nor `default` once it is there.
"""

SYSCTL = {
    # An attacker with an account learns less about the kernel, and reaches less of it.
    "kernel.kptr_restrict": "2",
    "kernel.dmesg_restrict": "1",
    "kernel.perf_event_paranoid": "3",
    "kernel.unprivileged_bpf_disabled": "1",
    "kernel.yama.ptrace_scope": "2",
    "kernel.kexec_load_disabled": "1",
    "kernel.sysrq": "0",
    "kernel.io_uring_disabled": "2",
    "kernel.randomize_va_space": "2",
    "dev.tty.ldisc_autoload": "0",
    "vm.unprivileged_userfaultfd": "0",
    "net.core.bpf_jit_harden": "2",
    # Files in directories that anyone may write to.
    "fs.protected_hardlinks": "1",
    "fs.protected_symlinks": "1",
    "fs.protected_fifos": "2",
    "fs.protected_regular": "2",
    "fs.suid_dumpable": "0",
    # No spoofed sources, no advice on routes from strangers, no floods.
    "net.ipv4.conf.all.rp_filter": "2",
    "net.ipv4.conf.default.rp_filter": "2",
    "net.ipv4.conf.*.accept_redirects": "0",
    "net.ipv4.conf.*.secure_redirects": "0",
    "net.ipv4.conf.*.send_redirects": "0",
    "net.ipv4.conf.all.accept_source_route": "0",
    "net.ipv4.conf.default.accept_source_route": "0",
    "net.ipv4.conf.all.log_martians": "0",
    "net.ipv6.conf.*.accept_redirects": "0",
    "net.ipv6.conf.all.accept_source_route": "0",
    "net.ipv6.conf.default.accept_source_route": "0",
    "net.ipv4.icmp_echo_ignore_broadcasts": "1",
    "net.ipv4.icmp_ignore_bogus_error_responses": "1",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv4.tcp_rfc1337": "1",
    # What waits in a full link's queue is everybody's delay, and what waits in a slow reader's buffer is memory
    # (docs/performance.md has what each of them does). systemd's default for the queue itself, fq_codel, is right.
    "net.ipv4.tcp_congestion_control": "bbr",
    "net.ipv4.tcp_notsent_lowat": "131072",
}
FILE = "/etc/sysctl.d/90-mainstay.conf"


def text() -> str:
    """The file; a key that this kernel does not have, or a container may not set, is passed over (`-`)."""
    return "".join(f"-{key} = {value}\n" for key, value in SYSCTL.items())


def probe() -> str:
    """A command that fails when a setting which the host may write has another value than the file's."""
    paths: dict[str, list[str]] = {}
    for key, value in SYSCTL.items():
        paths.setdefault(value, []).append(key.replace(".", "/"))
    looks = (f"find {' '.join(keys)} -writable -exec grep -Lx {value} {{}} +" for value, keys in paths.items())
    return f"cd /proc/sys && ! {{ {'; '.join(looks)}; }} | grep -q ."
