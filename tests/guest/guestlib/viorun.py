"""vio's own machine on KVM: Debian's cloud kernel with devices in one process, vio run."""
import os

from . import qemu
from .daemons import Daemons
from .guest import Guest
from .place import Failure

MEMORY = "256M"
CPUS = 2
WIRES = ("pci", "mmio")
RINGS = ("packed", "split")     # Linux takes packed rings where they are offered


def missing():
	"""Why there can be no such machine here, or None."""
	if not qemu.kernel():
		return qemu.missing()
	if not qemu.kvm_promises():
		return "no KVM here that runs Linux"
	return None


class Machine:
	"""
	One machine before it is started: its devices as options, and their names at the control socket. What a Device serves
	elsewhere with a daemon of its own is added here.
	"""

	def __init__(self, place, build, wire="pci", ring="packed", name="machine"):
		self.place, self.wire, self.ring = place, wire, ring
		self.program = Daemons(place, build).program
		self.name = f"vio-{wire}-{name}"
		self.devices, self.names, self.counts, self.descriptors = [], {}, {}, []
		self.kernel = None          # the bzImage of qemu.kernel()
		self.root = None            # made elsewhere: the initramfs of machines with all devices

	@property
	def control(self):
		return self.place.file(self.name + ".ctl")

	def add(self, kind, name, options=(), ring=None):
		"""vio KIND's options, as its daemon takes them; name is what ctl() calls the device."""
		number = self.counts[kind] = self.counts.get(kind, -1) + 1
		self.names[name] = f"{kind}{number}"
		words = [word.removeprefix("--").replace(",", ",,") for word in options]
		if (ring or self.ring) == "split":
			words.append("ring=split")
		self.devices.append(f"--{kind}={','.join(words)}" if words else f"--{kind}")
		return self.names[name]

	def give(self, descriptor):
		"""The machine inherits it, by the same number."""
		self.descriptors.append(descriptor)

	def command(self, words, initramfs=None, kernel=None, extra=(), memory=MEMORY, cpus=CPUS, restored=False):
		line = f"console=ttyS0 quiet panic=-1 no_timer_check random.trust_cpu=on {words}"
		root = [f"--initrd={initramfs}"] if initramfs else []
		begin = [] if restored else [f"--kernel={kernel or self.kernel or qemu.kernel()[0]}", *root, f"--append={line}"]
		return [self.program, "run", *begin, f"--memory={memory}", f"--cpus={cpus}", f"--transport={self.wire}", f"--control={self.control}",
			*self.devices, *extra]

	def boot(self, words, initramfs=None, **more):
		guest = Guest(self.place, self.name, self.command(words, initramfs, **more), descriptors=self.descriptors)
		guest.accel = "KVM"
		return guest

	def ctl(self, verb, *words, timeout=60):
		"""vio ctl for the whole machine; what it prints."""
		return self.place.run(self.program, "ctl", self.control, verb, *words, timeout=timeout)

	def ctl_device(self, name, verb, *words):
		if name not in self.names:
			raise Failure(f"{self.name} has no device {name}")
		return self.ctl(verb, f"device={self.names[name]}", *words)

	def driver(self, guest):
		return f"{guest.kernel()} in vio run ({self.wire.upper()}, {self.ring})"

