"""The devices of one machine, tried in one boot: see ../devices/__init__.py."""
import importlib
import json
import os
import subprocess
import threading

from devices import NAMES

from . import initramfs, qemu, uml
from .daemons import Daemons
from .place import Failure

BOOT_SECONDS = 60


class Device:
	"""One device type in one machine. What a module overrides stands first."""

	KINDS = ("qemu", "uml", "vio")  # the machines that have it, and whose Linux has a driver for it
	WHY_NOT = ""                    # why the other machine can't drive it
	MODULES = ()                    # the drivers to load; what they need comes with them
	UML_MODULES = None              # if these are others
	PROGRAMS = ()                   # see programs()
	SECONDS = 60                    # for the guest's part
	ROWS = ()                       # (words, requirement ids, the guest's checks)

	def start(self):
		"""Starts what the host has to serve."""

	def qemu(self):
		"""Arguments for QEMU."""
		return []

	def emulation(self):
		"""What an emulating QEMU needs in its environment."""
		return {}

	def uml(self):
		"""Arguments for user-mode Linux."""
		return []

	def programs(self):
		"""Programs of this host that the guest needs, with their libraries."""
		return self.PROGRAMS

	def words(self):
		"""Settings for the guest's script, such as "vio.net_port=80"."""
		return ""

	def during(self, guest):
		"""The host's part while the guest runs; in a thread of its own. May wait for the guest's reports."""

	def finish(self, guest):
		"""After power-off: further rows (words, ids, good, why)."""
		return ()

	# ---- What modules use ----

	def __init__(self, place, build, kind, name, machine=None):
		self.place, self.kind, self.name, self.machine = place, kind, name, machine
		self.prefix = machine.name if machine else kind
		self.daemons = Daemons(place, build)
		self.trouble = None
		self.thread = None

	def file(self, name):
		return self.place.file(f"{self.prefix}-{name}")

	def serve(self, name, *options, device=None):
		"""
		Starts vio DEVICE (this one's) with a control socket; returns the daemon, whose socket the machine is given. In vio's own
		machine it is a device of that.
		"""
		if self.machine:
			return self.machine.add(device or self.name, name, options)
		return self.daemons.serve(device or self.name, f"{self.kind}-{name}", [f"--control={self.control(name)}", *options])

	def control(self, daemon):
		"""The path for a daemon's --control=."""
		return self.file(daemon + ".ctl")

	def ctl(self, daemon, *words):
		"""vio ctl; the answer, decoded."""
		if self.machine:
			said = self.machine.ctl_device(daemon, *words)
		else:
			said = self.place.run(self.daemons.program, "ctl", self.control(daemon), *words)
		return json.loads(said) if said.strip() else {}

	# ---- What the job uses ----

	def begin(self, guest):
		self.thread = threading.Thread(target=self._during, args=(guest,), daemon=True)
		self.thread.start()

	def _during(self, guest):
		try:
			self.during(guest)
		except (Failure, OSError, ValueError, KeyError, subprocess.SubprocessError) as problem:
			self.trouble = f"{type(problem).__name__}: {problem}"

	def end(self):
		self.thread.join(10)
		if self.thread.is_alive():
			self.trouble = self.trouble or "the host's part did not come to its end"


def jobs(wanted=None):
	"""The class Job of each device, or of the wanted ones."""
	strange = sorted(set(wanted or ()) - set(NAMES))
	if strange:
		raise Failure(f"there is no device {strange[0]}: there are {', '.join(NAMES)}")
	return {name: importlib.import_module(f"devices.{name}").Job for name in NAMES if not wanted or name in wanted}


def root(place, kind, devices):
	"""The initramfs of a machine with these devices."""
	drivers, programs = [], []
	for device in devices:
		drivers += device.UML_MODULES if kind == "uml" and device.UML_MODULES is not None else device.MODULES
		programs += device.programs()
	folder = uml.modules() if kind == "uml" else qemu.kernel()[1]
	return initramfs.build(place, kind + "-devices", folder, drivers, programs)


class DeviceJob:
	"""All devices that this kind of machine has drivers for; rows as MainJob has them."""

	def __init__(self, place, build, kind, wanted=None, machine=None):
		self.place, self.kind, self.rows, self.machine = place, kind, [], machine
		self.devices = [job(place, build, kind, name, machine) for name, job in jobs(wanted).items() if kind in job.KINDS]
		for device in self.devices:
			device.start()
		self.guest = self._boot()
		for device in self.devices:
			device.begin(self.guest)

	def _boot(self):
		words = [f"vio.job=devices vio.devices={','.join(d.name for d in self.devices)}", *(d.words() for d in self.devices)]
		if self.machine:
			return self.machine.boot(" ".join(words), self.machine.root or root(self.place, self.kind, self.devices))
		initrd = root(self.place, self.kind, self.devices)
		arguments = [word for device in self.devices for word in (device.qemu() if self.kind == "qemu" else device.uml())]
		name = self.kind + "-devices"
		if self.kind == "qemu":
			emulation = {name: value for device in self.devices for name, value in device.emulation().items()}
			return qemu.boot(self.place, name, initrd, " ".join(words), arguments, emulation=emulation)
		return uml.boot(self.place, name, initrd, " ".join(words), [], arguments)

	def finish(self, say):
		"""Waits for the guest, stops the daemons, judges. Whatever goes wrong is a row, not an exception."""
		guest = self.guest
		boot = 3 * BOOT_SECONDS if self.machine else BOOT_SECONDS      # it may be one within an emulated one
		seconds = BOOT_SECONDS + sum(device.SECONDS for device in self.devices)
		try:
			say(f"{guest.name}: {guest.wait_report('guest', 'hello', boot)} is up with {len(self.devices)} devices")
			guest.wait_report("guest", "poweroff", seconds)
			guest.wait_end(BOOT_SECONDS)
			say(f"{guest.name}: has powered off")
			good, why = guest.verdict("guest", "log")
		except Failure as problem:
			good, why = False, str(problem)
			guest.kill()
		self._row("all devices", "the guest runs to its end, its kernel complains about nothing", "", good, why)
		if self.machine and ("guest", "hello") not in guest.reports:
			return		# nothing is to be learned of its devices
		for device in self.devices:
			self._judge(device)

	def _judge(self, device):
		device.end()
		for words, ids, checks in device.ROWS:
			bad = [f"{check}: {detail}" for check in checks
				for good, detail in [self.guest.verdict(device.name, check)] if not good]
			self._row(device.name, words, ids, not bad, "; ".join(bad))
		try:
			for words, ids, good, why in device.finish(self.guest):
				self._row(device.name, words, ids, good, why)
		except (Failure, OSError) as problem:
			device.trouble = device.trouble or str(problem)
		bad = [device.trouble] if device.trouble else []
		for daemon in device.daemons.all:
			try:
				daemon.stop()
			except Failure as problem:
				bad.append(str(problem))
		said = "; ".join(f"{d.name} said: {d.words()}" for d in device.daemons.all if d.words()) if bad else ""
		part = "the host's part" if self.machine else "the host's part, and the daemons end in order"
		self._row(device.name, part, "", not bad, "; ".join(bad + [said]))

	def _row(self, device, text, ids, good, why=""):
		self.rows.append((device, self.driver(), text, ids, good, why))

	def driver(self):
		if self.machine:
			return self.machine.driver(self.guest)
		return self.guest.kernel() + (f" in QEMU ({self.guest.accel})" if self.kind == "qemu" else ", user-mode")
