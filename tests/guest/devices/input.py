"""A keyboard, mouse, tablet and touch screen that the control socket presses; lights that come back."""
import os
import subprocess

from guestlib import qemu
from guestlib.devicejob import Device
from guestlib.place import Failure, wait_until

SECONDS = 30
THINGS = (
	("keyboard", "--serial=K-1"),
	("mouse", None),
	("tablet", "--name=a pen of ours"),
	("touch", "--slots=5"),
)


def libevdev():
	"""Where the library is that vio loads by its name."""
	for line in subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout.splitlines():
		if line.split()[:1] == ["libevdev.so.2"] and "x86-64" in line:
			return line.split()[-1]
	raise Failure("libevdev is not installed: apt-get install libevdev2")


class Job(Device):
	KINDS = ("qemu", "vio")
	WHY_NOT = "its kernel has no driver"
	MODULES = ("virtio_input", "evdev")
	ROWS = (
		("names, serial numbers, ids, properties, codes and axes are what they are", "input-dev-1",
			("keyboard", "mouse", "tablet", "touch")),
		("a key pressed on the control socket arrives in the guest's evdev, and so does a text", "", ("keys",)),
		("a mouse moves, clicks and turns its wheel, in whole updates", "input-dev-3", ("moves",)),
		("a tablet's pen goes to its place", "", ("places",)),
		("two fingers touch, move and leave", "input-dev-3", ("touches",)),
		("vio passes the guest's keyboard on, by evdev: keys come, for it alone", "", ("taken", "seen", "passed")),
		("more keys than evdev holds: some are lost, and what is down at the end is right", "", ("over", "flooded", "lost")),
		("it says that the keyboard was unplugged, and ends in order", "", ("unplugged", "ended")),
		("a driver that is unbound and bound finds nothing pressed, and hears the next key", "", ("rebound", "fresh")),
	)

	def programs(self):
		folder = os.path.dirname(os.path.dirname(self.daemons.program))
		return (self.daemons.program, os.path.join(folder, "tests/cmd/input_front"), libevdev())

	def start(self):
		self.found = []
		if self.machine:
			for kind, more in THINGS:
				self.serve(kind, f"--kind={kind}", *([more] if more else []))
			return
		options = []
		for kind, more in THINGS:
			options += [f"--socket-path={self.file(kind)}"] if options else []
			options += [f"--kind={kind}"] + ([more] if more else [])
		self.daemon = self.serve("input", *options)

	def qemu(self):
		sockets = [self.daemon.socket] + [self.file(kind) for kind, _ in THINGS[1:]]
		return [word for (kind, _), path in zip(THINGS, sockets)
			for word in qemu.device("input", kind, path, ",packed=on" if kind in ("mouse", "touch") else "")]

	def emulation(self):
		return qemu.eventfds(self.place)

	def press(self, kind, verb, *words):
		if self.machine:
			self.ctl(kind, verb, *words)
			return
		self.ctl("input", verb, f"device={[k for k, _ in THINGS].index(kind)}", *words)

	def stats(self):
		return self.ctl("keyboard" if self.machine else "input", "stats")["input"]

	def during(self, guest):
		guest.wait_report("input", "listening", self.SECONDS + 60)
		self.press("keyboard", "key", "keys=KEY_A")
		self.press("keyboard", "key", "keys=leftctrl+c")
		self.press("keyboard", "type", "text=Hi")
		self.press("keyboard", "press", "keys=b")
		self.press("keyboard", "release")
		self.press("mouse", "move", "x=7", "y=-9")
		self.press("mouse", "key", "keys=BTN_LEFT")
		self.press("mouse", "wheel", "vertical=-2")
		self.press("tablet", "move", "x=20000", "y=10000")
		self.press("tablet", "key", "keys=right")
		self.press("touch", "touch", "slot=0", "x=100", "y=200", "pressure=50")
		self.press("touch", "touch", "slot=3", "x=300", "y=400")
		self.press("touch", "touch", "slot=0", "x=101")
		self.press("touch", "lift", "slot=0")
		self.press("touch", "lift", "slot=3")
		guest.wait_report("input", "lit", SECONDS)
		self.row("a light that the guest lights shows on the control socket", "",
			lambda: wait_until(lambda: self.stats()["lights"] == ["LED_CAPSL"], SECONDS, "the light"))
		guest.wait_report("input", "beeped", SECONDS)
		self.row("so does a sound", "", lambda: wait_until(lambda: self.stats()["said"] >= 2, SECONDS, "the sound"))
		self.press("keyboard", "press", "keys=x")		# and the driver goes
		guest.wait_report("input", "again", SECONDS)
		self.row("the driver that has gone left no light on and no key down", "", self.dark)
		self.press("keyboard", "key", "keys=m")
		guest.wait_report("input", "passing", 2 * SECONDS)
		self.press("keyboard", "key", "keys=q")
		self.press("keyboard", "type", "text=W")
		guest.wait_report("input", "shining", 2 * SECONDS)
		self.row("a light goes all the way back: front end, vio, evdev, the guest's driver, vio", "",
			lambda: wait_until(lambda: self.stats()["lights"] == ["LED_SCROLLL"], SECONDS, "the light"))
		self.press("mouse", "move", "x=1")
		guest.wait_report("input", "flooding", 2 * SECONDS)
		for _ in range(3):
			self.press("keyboard", "type", "text=" + 10 * "abcdefghij")
		self.press("keyboard", "press", "keys=z")
		wait_until(lambda: self.stats()["waiting"] == 0, SECONDS, "the guest took the keys")
		self.press("mouse", "move", "x=2")

	def dark(self):
		stats = self.stats()
		if stats["lights"] or stats["down"]:
			raise Failure(f"there is {stats}")

	def row(self, words, ids, work):
		try:
			work()
			self.found.append((words, ids, True, ""))
		except (Failure, OSError) as problem:
			self.found.append((words, ids, False, str(problem)))

	def finish(self, _guest):
		return self.found
