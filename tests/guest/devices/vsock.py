"""Sockets: a guest and Unix sockets of the host talk, from either side, in bytes and in messages."""
import os
import socket
import threading

from guestlib import qemu, uml
from guestlib.devicejob import Device
from guestlib.place import Failure, wait_until

ID = 19
CID = 7
# As in inside/guestsock.c.
MESSAGES = (1, 2, 4051, 4052, 4053, 65536, 3, 100000, 17, 8192, 200000, 1, 30000)
LONGEST = 1 << 18
SECONDS = 20
CALLERS = 60


def marks(count):
	return bytes((i * 7 + (i >> 8) * 13 + 1) & 255 for i in range(count))


class Job(Device):
	MODULES = ("virtio_pci", "vsock", "vmw_vsock_virtio_transport")
	UML_MODULES = ("vsock", "vmw_vsock_virtio_transport")
	ROWS = (
		("the driver takes SEQPACKET", "socket-dev-1", ("features",)),
		("guest to host: a million bytes there and back, then the end of one direction", "socket-dev-5 socket-dev-6", ("stream",)),
		("guest to host: the same in messages of 1 to 200000 bytes", "", ("seqpacket",)),
		("guest to host: 20 million bytes, both ways at once", "socket-dev-4", ("large",)),
		("guest to host: 100 connections at once", "", ("many",)),
		("nobody's port, and nobody's context id, refuse at once", "", ("nobody", "strange")),
		("the guest listens, and hears the host hang up", "", ("listening", "held")),
	)

	def start(self):
		self.path = self.file("guest")
		self.data = marks(1 << 20)[:1000000]
		self.found = []
		self.echo(8000, socket.SOCK_STREAM)
		self.echo(8001, socket.SOCK_SEQPACKET)
		self.done = self.listen(8002, socket.SOCK_STREAM)
		self.daemon = self.serve("vsock", f"--guest-cid={CID}", f"--uds-path={self.path}")

	def qemu(self):
		return qemu.device("vsock", "vsock", self.daemon.socket)

	def uml(self):
		return [uml.device(self.daemon.socket, ID)]

	# ---- The host's end of the guest's connections ----

	def listen(self, port, kind):
		listener = socket.socket(socket.AF_UNIX, kind)
		listener.bind(f"{self.path}_{port}")
		listener.listen(128)
		return listener

	def echo(self, port, kind):
		listener = self.listen(port, kind)

		def answer(line):
			with line:
				while data := line.recv(LONGEST):
					line.sendall(data)      # a message whole
				line.shutdown(socket.SHUT_WR)
				while line.recv(LONGEST):
					pass

		def accept():
			while True:
				line, _ = listener.accept()
				threading.Thread(target=answer, args=(line,), daemon=True).start()

		threading.Thread(target=accept, daemon=True).start()

	# ---- The host calls ----

	def call(self, port, kind):
		"""A connection to the guest's port, or None when it is refused."""
		line = socket.socket(socket.AF_UNIX, kind)
		line.settimeout(SECONDS)
		line.connect(self.path + ("" if kind == socket.SOCK_STREAM else "_seqpacket"))
		line.sendall(f"CONNECT {port}\n".encode())
		said = b""
		while not said.endswith(b"\n"):
			more = line.recv(1 if kind == socket.SOCK_STREAM else 64)
			if not more:
				return None
			said += more
		if not said.startswith(b"OK "):
			raise Failure(f"the answer to CONNECT is {said!r}")
		return line

	def pieces(self, kind, count):
		at = number = 0
		while at < count:
			size = min(count - at, LONGEST if kind == socket.SOCK_STREAM else MESSAGES[number % len(MESSAGES)])
			yield at, size
			at, number = at + size, number + 1

	def talk(self, port, kind, count):
		line = self.call(port, kind)
		if not line:
			raise Failure(f"the guest's port {port} refuses")
		data, expected = self.data[:count], [size for _, size in self.pieces(kind, count)]

		def say():
			for at, size in self.pieces(kind, count):
				line.sendall(data[at:at + size])
			line.shutdown(socket.SHUT_WR)

		speaker = threading.Thread(target=say, daemon=True)
		speaker.start()
		heard = b""
		number = 0
		while len(heard) < count:
			more = line.recv(LONGEST)
			if not more or (kind == socket.SOCK_SEQPACKET and len(more) != expected[number]):
				raise Failure(f"after {len(heard)} bytes come {len(more)}")
			heard, number = heard + more, number + 1
		if heard != data:
			raise Failure("what comes back is not what was said")
		if line.recv(1):
			raise Failure("the guest says more than it was told")
		speaker.join(SECONDS)
		line.close()

	def row(self, words, ids, work):
		try:
			work()
			self.found.append((words, ids, True, ""))
		except (Failure, OSError) as problem:
			self.found.append((words, ids, False, str(problem)))

	def many(self):
		bad = []

		def one():
			try:
				self.talk(9000, socket.SOCK_STREAM, 3000)
			except (Failure, OSError) as problem:
				bad.append(str(problem))

		callers = [threading.Thread(target=one, daemon=True) for _ in range(CALLERS)]
		for caller in callers:
			caller.start()
		for caller in callers:
			caller.join(SECONDS)
		if bad:
			raise Failure(f"{len(bad)} of {CALLERS}: {bad[0]}")

	def refused(self):
		if self.call(77, socket.SOCK_STREAM):
			raise Failure("port 77 answers")

	def forgotten(self):
		wait_until(lambda: self.ctl("vsock", "stats")["vsock"]["connections"] == 1, SECONDS,
			"the daemon forgot all connections but the one that is held")

	def during(self, guest):
		guest.wait_report("vsock", "listening", self.SECONDS + 60)
		self.row("host to guest: a million bytes there and back, then the end of one direction", "",
			lambda: self.talk(9000, socket.SOCK_STREAM, 1000000))
		self.row("host to guest: the same in messages", "", lambda: self.talk(9001, socket.SOCK_SEQPACKET, 1000000))
		self.row(f"host to guest: {CALLERS} callers at once", "", self.many)
		self.row("host to guest: a port that nobody listens on", "", self.refused)
		line, _ = self.done.accept()
		self.row("what has ended is forgotten", "", self.forgotten)
		line.close()

	def finish(self, guest):
		if os.path.exists(self.path + "_8000"):
			for port in (8000, 8001, 8002):
				os.unlink(f"{self.path}_{port}")
		return self.found
