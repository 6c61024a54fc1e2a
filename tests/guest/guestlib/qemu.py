"""Debian's cloud kernel in QEMU, with vhost-user devices on the PCI bus."""
import glob
import json
import os
import shlex
import shutil
import socket
import sys

from .guest import Guest
from .place import Failure, wait_until

QEMU = "qemu-system-x86_64"
MEMORY = "256M"
KVM_PATIENCE = int(os.environ.get("VIO_KVM_PATIENCE", "8"))    # a kernel under KVM says hello within a second


def kernel():
	"""The newest cloud kernel as (image, folder of modules)."""
	for image in sorted(glob.glob("/boot/vmlinuz-*-cloud-amd64"), key=os.path.getmtime, reverse=True):
		folder = "/lib/modules/" + os.path.basename(image).removeprefix("vmlinuz-")
		if os.path.isdir(folder) and os.access(image, os.R_OK):
			return image, folder
	return None


def missing():
	"""Why there can be no such guest here, or None."""
	if not shutil.which(QEMU):
		return f"{QEMU} is not installed (qemu-system-x86)"
	if not kernel():
		return "no kernel /boot/vmlinuz-*-cloud-amd64 (linux-image-cloud-amd64)"
	return None


def kvm_promises():
	"""Whether KVM could run a Linux guest: the device alone says little, the processor must virtualize too."""
	if not os.access("/dev/kvm", os.R_OK | os.W_OK):
		return False
	with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
		flags = next((line for line in cpuinfo if line.startswith("flags")), "").split()
	return "vmx" in flags or "svm" in flags


def accelerator():
	return os.environ.get("VIO_GUEST_ACCEL") or ("kvm" if kvm_promises() else "tcg")


def device(kind, name, path, options="", reconnect=False):
	"""The arguments for one vhost-user device: kind is blk or rng."""
	return ["-chardev", f"socket,id={name}-c,path={path}" + (",reconnect=1" if reconnect else ""),
			"-device", f"vhost-user-{kind}-pci,id={name},chardev={name}-c{options}"]


def machine(accel, cpus=2):
	return [QEMU, "-M", f"q35,accel={accel},memory-backend=mem", "-cpu", "max" if accel == "tcg" else "host",
			"-smp", str(cpus), "-m", MEMORY, "-object", f"memory-backend-memfd,id=mem,size={MEMORY},share=on",
			"-nodefaults", "-display", "none"]


def command(accel, initramfs, words, devices, extra=(), cpus=2):
	image, _ = kernel()
	# On a busy host an emulated timer may be too late for the kernel's test of it (no_timer_check).
	line = f"console=ttyS0 quiet panic=-1 no_timer_check random.trust_cpu=on {words}"
	return [*machine(accel, cpus), "-kernel", image, "-initrd", initramfs, "-append", line, *devices, *extra]


def eventfds(place):
	"""
	The environment in which an emulating QEMU does not refuse vhost-user-input: up to version 8 it asks for KVM there, because
	of its eventfds
	(backends/vhost-user.c), and emulation has eventfds too. x86 only.
	"""
	shim = place.file("eventfds.so")
	if not os.path.exists(shim):
		source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "eventfds.c")
		place.run(*shlex.split(os.environ.get("CC", "cc")), "-D_GNU_SOURCE", "-shared", "-fPIC", source, "-o", shim)
	return {"LD_PRELOAD": shim}


def boot(place, name, initramfs, words, devices, extra=(), cpus=2, emulation=None):
	"""
	Boots a guest and waits until its Linux is up. KVM that cannot run a Linux gives way to emulation, said aloud; emulation is
	the environment in that case.
	"""
	serial = ("-serial", "stdio", *extra)
	accel = accelerator()
	if accel == "kvm":
		guest = Guest(place, name, command("kvm", initramfs, words, devices, serial, cpus))
		try:
			guest.wait_report("guest", "hello", KVM_PATIENCE)
			guest.accel = "KVM"
			return guest
		except Failure:
			guest.kill()
			print("KVM does not run Linux here; going on with emulation (TCG)", file=sys.stderr, flush=True)
			os.environ["VIO_GUEST_ACCEL"] = "tcg"
	guest = Guest(place, name, command("tcg", initramfs, words, devices, serial, cpus), emulation)
	guest.accel = "TCG"
	return guest


class Monitor:
	"""QEMU's control socket (QMP)."""

	def __init__(self, path):
		self.socket = socket.socket(socket.AF_UNIX)
		self.socket.settimeout(20)
		wait_until(lambda: self._connect(path), 10, f"QEMU's monitor {path}")
		self.lines = self.socket.makefile("r", encoding="utf-8")
		self.lines.readline()
		self.do("qmp_capabilities")

	def _connect(self, path):
		try:
			self.socket.connect(path)
		except (FileNotFoundError, ConnectionRefusedError):
			return False
		return True

	def do(self, verb, **arguments):
		self.socket.sendall(json.dumps({"execute": verb, "arguments": arguments}).encode() + b"\n")
		while True:
			line = self.lines.readline()
			if not line:
				raise Failure(f"QEMU ended during {verb}")
			answer = json.loads(line)
			if "error" in answer:
				raise Failure(f"QEMU refused {verb}: {answer['error']['desc']}")
			if "return" in answer:
				return answer["return"]


def monitor_arguments(path):
	return ["-qmp", f"unix:{path},server=on,wait=off"]
