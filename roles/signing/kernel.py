"""What the signing host's kernel is told besides what every host's is, and what it never loads. Pure."""

COMMAND_LINE = (
    "lockdown=integrity",
    "audit=1",
    "audit_backlog_limit=8192",
    "init_on_alloc=1",
    "init_on_free=1",
    "slab_nomerge",
    "page_alloc.shuffle=1",
    "randomize_kstack_offset=on",
    "vsyscall=none",
    "ia32_emulation=0",
    "debugfs=off",
    "oops=panic",
    "hash_pointers=always",
    "hardened_usercopy=1",
    "kfence.sample_interval=100",
    "module.sig_enforce=1",
    "proc_mem.force_override=never",
    "mitigations=auto,nosmt",
    "pti=on",
    "intel_iommu=on",
    "iommu=force",
    "iommu.strict=1",
    "iommu.passthrough=0",
    "module_blacklist=ksmbd",
    "systemd.ssh_auto=no",
)
"""module_blacklist: of a module with soft dependencies, `install` of modprobe.d(5) denies nothing. systemd.ssh_auto: no
sshd on a VM's own sockets, which no firewall sees (systemd-ssh-generator(8))."""

SYSCTL = {
    "kernel.core_pattern": "|/bin/false",
    "kernel.unprivileged_userns_clone": "0",
    "kernel.panic_on_oops": "1",
    "kernel.panic": "60",
    "dev.tty.legacy_tiocsti": "0",
    "vm.mmap_rnd_bits": "32",
    "net.ipv4.tcp_timestamps": "0",
}

DENIED = (
    # Buses whose devices reach memory, or that plug in what nobody declared.
    *("firewire-core", "firewire-ohci", "firewire-sbp2", "thunderbolt", "pcmcia", "yenta_socket"),
    # Storage that comes and goes.
    *("usb-storage", "uas", "sr_mod", "cdrom", "floppy", "mmc_block", "sdhci", "rtsx_pci"),
    # Radio.
    *("bluetooth", "btusb", "cfg80211", "mac80211", "iwlwifi", "nfc", "rfkill"),
    # Network by USB, and protocols that nothing here speaks.
    *("usbnet", "cdc_ether", "cdc_ncm", "rndis_host", "r8152", "dccp", "sctp", "rds", "tipc", "can", "atm"),
    *("appletalk", "ax25", "x25", "netrom", "rose", "p8022", "psnap", "llc", "l2tp_core", "ppp_generic", "vsock"),
    # Filesystems that nothing here mounts.
    *("cramfs", "hfs", "hfsplus", "jfs", "udf", "squashfs", "gfs2", "reiserfs", "ntfs3", "cifs", "nfs"),
    # Cameras, sound and other input.
    *("uvcvideo", "videodev", "snd", "joydev", "pcspkr"),
)

LOADED = (
    # What is needed later, and could not be loaded any more: input, firewall, congestion control, validation of files.
    *("usbhid", "hid-generic", "overlay", "tcp_bbr", "inet_diag", "tcp_diag", "udp_diag", "af_packet_diag"),
    *("unix_diag", "nf_tables", "nft_ct", "nft_limit", "nft_reject", "nft_reject_inet", "nf_reject_ipv4"),
    *("nf_reject_ipv6", "nf_conntrack"),
)

MEDIA = ("usb-storage", "sd_mod", "cdrom", "isofs", "vfat", "nls_ascii", "nls_cp437")
"""What a declared medium takes: a stick with an image of a bundle, or with what leaves the host. isofs needs cdrom."""


def denied(media: bool) -> tuple[str, ...]:
    """media: whether any is declared."""
    return tuple(name for name in DENIED if not (media and name in MEDIA))


def loaded(media: bool) -> tuple[str, ...]:
    return LOADED + (MEDIA if media else ())


def sysctl() -> str:
    """The file; as in roles/base, a key that this kernel lacks is passed over."""
    return "".join(f"-{key} = {value}\n" for key, value in SYSCTL.items())


def modprobe(media: bool) -> str:
    """Neither by name, nor by the alias of a device (modprobe.d(5))."""
    return "".join(f"blacklist {name}\ninstall {name} /bin/false\n" for name in denied(media))


def grub() -> str:
    """Debian's grub adds it to every entry."""
    return f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {" ".join(COMMAND_LINE)}"\n'
