"""
A machine with KVM on one that has none: QEMU emulates a processor that virtualizes, Linux runs on it with the host's own
files as its root (read-only, over virtiofs, served by vio), and in it one command of the host's, such as these scripts.

What the command prints comes over the serial port; its exit status comes as the report "outer end".
"""
import os
import shlex

from . import initramfs, qemu, uml      # noqa: F401
from .daemons import Daemons
from .guest import Guest

MEMORY = "1536M"
MODULES = ("virtio_pci", "virtiofs", "kvm_amd", "kvm_intel", "tun", "af_packet")
VARIABLES = ("PATH", "LANG", "CC")


def missing():
	return qemu.missing()


def _start(command, environment, folder):
	"""The script that is the first program once the host's files are the root."""
	words = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
	return f"cd {shlex.quote(folder)}\nenv -i {words} {shlex.join(command)} </dev/console >/dev/console 2>&1\n"


def _root(place, name, start):
	archive = initramfs.Archive()
	for folder in ("bin", "dev", "modules", "proc", "root", "sys"):
		archive.folder(folder)
	archive.add("dev/console", 0o020600, device=(5, 1))
	archive.file("bin/busybox", initramfs.static_busybox())
	archive.file("bin/sh", initramfs.static_busybox())
	loaded = initramfs.modules(qemu.kernel()[1], MODULES)
	for module, data in loaded:
		archive.file("modules/" + module, data)
	archive.file("modules/order", "".join(module + "\n" for module, _ in loaded).encode())
	archive.file("start", start.encode())
	with open(os.path.join(initramfs.INSIDE, "outer"), "rb") as script:
		archive.file("init", script.read())
	path = place.file(name + ".cpio")
	with open(path, "wb") as file:
		file.write(archive.bytes())
	return path


def boot(place, build, name, command, folder=".", environment=None, memory=MEMORY, cpus=2):
	"""Starts the command there, in a folder; returns the Guest, whose `files` are the daemons that serve it."""
	daemons = Daemons(place, build)
	daemons.serve("fs", name + "-root", ["--shared-dir=/", "--tag=root", "--read-only", "--cache=always", "--locks=off", "--threads=2"])
	given = {name: os.environ[name] for name in VARIABLES if name in os.environ}
	given.update(HOME="/run", TMPDIR="/run", PYTHONDONTWRITEBYTECODE="1", **(environment or {}))
	root = _root(place, name, _start(command, given, os.path.abspath(folder)))
	machine = [qemu.QEMU, "-M", "q35,accel=tcg,memory-backend=mem", "-cpu", "max,-xsave", "-smp", str(cpus), "-m", memory,
		"-object", f"memory-backend-memfd,id=mem,size={memory},share=on", "-nodefaults", "-no-reboot", "-display", "none"]
	line = "console=ttyS0 quiet panic=-1 no_timer_check random.trust_cpu=on mitigations=off"
	guest = Guest(place, name, [*machine, "-kernel", qemu.kernel()[0], "-initrd", root, "-append", line, "-serial", "stdio",
		*qemu.device("fs", "root", daemons.all[0].socket, ",tag=root,queue-size=1024")])
	guest.files = daemons
	return guest
