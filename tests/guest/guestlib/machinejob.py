"""
Everything about vio run, as rows: here, if the KVM of this machine runs Linux, and otherwise within a machine that QEMU emulates
together with its KVM (outer.py).
"""
import json
import os
import re
import sys

from . import initramfs, outer, qemu, viorun, vmlinux
from .devicejob import jobs, root
from .guest import Guest
from .place import Failure

INNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "inner.py")
SECONDS = 600


def missing():
	"""Why it can be tried neither here nor there, or None."""
	return viorun.missing() and (qemu.missing() or outer.missing())


class MachineJob:
	"""Like DeviceJob: began when it is made; finish() waits, then there are rows."""

	def __init__(self, place, build, groups=(), only=None, wires=viorun.WIRES):
		self.rows, self.steps, self.nested = [], [], bool(viorun.missing())
		# What would take long on an emulated processor:
		initramfs.build(place, "vio-root", qemu.kernel()[1], (*initramfs.DRIVERS, "button", "evdev"))
		root(place, "vio", [job(place, build, "vio", name) for name, job in jobs(only).items() if "vio" in job.KINDS])
		vmlinux.extract(qemu.kernel()[0], place.file("vmlinux"))
		environment = {"VIO_GUEST_TOOLS": place.path}
		command = [sys.executable, INNER, os.path.abspath(build), *groups, f"--wires={','.join(wires)}"]
		if self.nested:
			command.append("--emulated")
		if only:
			command.append(f"--only={','.join(only)}")
		if self.nested:
			self.guest = outer.boot(place, build, "outer", command, environment=environment)
		else:
			self.guest = Guest(place, "machines", command, environment)

	def _read(self, at, say):
		for line in self.guest.console[at:]:
			found = re.search(r"(STEP|ROW) (.*)", line)
			if not found:
				continue
			value = json.loads(found.group(2))
			if found.group(1) == "STEP":
				say(value)
			else:
				self.rows.append(tuple(value))
		return len(self.guest.console)

	def finish(self, say):
		at, guest = 0, self.guest
		try:
			while not guest.ended:
				before = at
				guest.wait_until(lambda before=before: len(guest.console) > before, SECONDS, "anything was tried")
				at = self._read(at, say)
		except Failure as problem:
			if not guest.ended:
				self._trouble(str(problem))
		self._read(at, say)
		if guest.process.wait():
			self._trouble(f"it ended with {guest.process.returncode}\n{guest.tail()}")
		elif self.nested and guest.verdict("outer", "end") != (True, "0"):
			self._trouble(f"the scripts in it ended with {guest.verdict('outer', 'end')[1]}\n{guest.tail()}")
		elif not self.rows:
			self._trouble(f"nothing was tried\n{guest.tail()}")

	def _trouble(self, why):
		self.guest.kill()
		self.rows.append(("the machine", "vio run", "all of it is tried", "", False, why))
