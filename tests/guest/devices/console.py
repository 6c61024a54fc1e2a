"""Ports: a megabyte through each of three and back, one plugged and one unplugged at run time, a window that changes."""
import fcntl
import os
import random
import socket
import struct
import termios
import threading

from guestlib import uml
from guestlib.devicejob import Device
from guestlib.place import Failure, wait_until

ID = 3
BYTES = 1 << 20
SECONDS = 30


class Job(Device):
	KINDS = ("uml", "vio")
	WHY_NOT = "QEMU has no front end for it"
	MODULES = ("virtio_console",)
	ROWS = (
		("ports appear under their names", "console-dev-3", ("names",)),
		("a port is plugged in while it runs", "", ("plugged",)),
		("a port is unplugged while it runs", "console-dev-4", ("unplugged",)),
		("the window's new size reaches the guest", "", ("size",)),
	)

	def start(self):
		self.found = []
		self.random = random.Random(5)
		self.terminal = self.file("tty")
		self.daemon = self.serve("console", f"--port=con,pty={self.terminal},console",
			*(f"--port={name},socket={self.file(name)},server" for name in ("one", "two")))

	def uml(self):
		return [uml.device(self.daemon.socket, ID)]

	def dial(self, name):
		line = socket.socket(socket.AF_UNIX)
		line.settimeout(SECONDS)
		line.connect(self.file(name))
		return line

	def echo(self, send, receive):
		"""What is sent comes back, byte for byte."""
		data = self.random.randbytes(BYTES)
		speaker = threading.Thread(target=send, args=(data,), daemon=True)
		speaker.start()
		heard = b""
		while len(heard) < BYTES:
			more = receive(65536)
			if not more:
				raise Failure(f"the port ends after {len(heard)} bytes")
			heard += more
		speaker.join(SECONDS)
		if heard != data:
			raise Failure("what comes back is not what was sent")

	def row(self, words, work):
		try:
			work()
			self.found.append((words, "", True, ""))
		except (Failure, OSError) as problem:
			self.found.append((words, "", False, str(problem)))

	def through_socket(self, name):
		with self.dial(name) as line:
			self.echo(line.sendall, line.recv)

	def through_terminal(self):
		user = self.user

		def send(data):
			while data:
				data = data[os.write(user, data[:4096]):]

		self.echo(send, lambda n: os.read(user, n))

	def ports(self):
		return {port["name"]: port for port in self.ctl("console", "ports")["ports"]}

	def during(self, guest):
		guest.wait_report("console", "listening", self.SECONDS + 60)
		self.user = os.open(self.terminal, os.O_RDWR | os.O_NOCTTY)
		wait_until(lambda: self.ports()["con"]["guest_open"], SECONDS, "the guest opened its console")
		for name in ("one", "two", "one"):
			self.row(f"a mebibyte to port {name} and back, compared", lambda name=name: self.through_socket(name))
		self.row("a mebibyte to the console and back, compared", self.through_terminal)
		self.ctl("console", "add-port", "name=hot", f"listen={self.file('hot')}")
		guest.wait_report("console", "echoing", SECONDS)
		self.row("a mebibyte to the port plugged in and back, compared", lambda: self.through_socket("hot"))
		self.ctl("console", "remove-port", "name=two")
		fcntl.ioctl(self.user, termios.TIOCSWINSZ, struct.pack("HHHH", 43, 132, 0, 0))

	def finish(self, _guest):
		if os.path.exists(self.file("hot")):
			os.unlink(self.file("hot"))
		return self.found
