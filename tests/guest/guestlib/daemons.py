"""The back ends under test: vio's daemons. All their command lines are here.

With `peer` the block back end is qemu-storage-daemon, to see whether a failure is the test's own.
"""
import os
import signal
import subprocess

from .place import Failure, wait_until


class Daemon:
	"""One back-end process and its socket."""

	def __init__(self, place, name, command):
		self.place, self.name, self.command = place, name, command
		self.socket = place.file(name + ".sock")
		self.log = place.file(name + ".log")
		self.process = None
		self.start()

	def start(self):
		"""Starts it, or starts it again after a crash; returns when the socket answers."""
		if os.path.exists(self.socket):
			os.unlink(self.socket)      # what a crashed one left behind
		with open(self.log, "ab") as log:
			self.process = self.place.start(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
		there = lambda: os.path.exists(self.socket) or self.process.poll() is not None		# noqa: E731
		wait_until(there, 10, f"the socket of {self.name}")
		self.must_live()

	def must_live(self):
		if self.process.poll() is not None:
			raise Failure(f"{self.name} ended with {self.process.returncode}: {self.words() or 'no word'}")

	def crash(self):
		self.must_live()
		self.place.kill(self.process)

	def stop(self):
		"""Asks it to end as an operator would; anything but exit status 0 and a removed socket is a failure."""
		self.must_live()
		self.process.send_signal(signal.SIGTERM)
		try:
			code = self.process.wait(timeout=10)
		except subprocess.TimeoutExpired:
			raise Failure(f"{self.name} did not end within 10 s of SIGTERM") from None
		self.place.gone(self.process)
		if code:
			raise Failure(f"{self.name} ended with {code} after SIGTERM: {self.words()}")
		if os.path.exists(self.socket):
			raise Failure(f"{self.name} left its socket behind")

	def words(self):
		with open(self.log, encoding="utf-8", errors="replace") as log:
			return log.read().strip()


class Daemons:
	"""Starts back ends of one build."""

	def __init__(self, place, build, peer=False):
		self.place, self.peer = place, peer
		self.program = os.path.join(os.path.abspath(build), "cmd", "vio")
		self.all = []
		if not peer and not os.access(self.program, os.X_OK):
			raise Failure(f"{self.program} is missing: run make first, or name the build directory")

	def _add(self, name, command):
		daemon = Daemon(self.place, name, command)
		self.all.append(daemon)
		return daemon

	def blk(self, name, image, queues=2, serial=None, options=()):
		socket = self.place.file(name + ".sock")
		if self.peer:
			return self._add(name, [
				"qemu-storage-daemon", "--blockdev", f"driver=file,node-name=f,filename={image},discard=unmap",
				"--export", f"type=vhost-user-blk,id=e,node-name=f,addr.type=unix,addr.path={socket},"
							f"writable=on,num-queues={queues}"])
		command = [self.program, "blk", f"--socket-path={socket}", f"--blk-file={image}", f"--num-queues={queues}"]
		if serial is not None:
			command.append(f"--serial={serial}")
		return self._add(name, command + list(options))

	def rng(self, name, options=()):
		return self._add(name, [self.program, "rng", f"--socket-path={self.place.file(name + '.sock')}", *options])

	def serve(self, device, name, options=()):
		"""Any device: vio DEVICE --socket-path=..."""
		return self._add(name, [self.program, device, f"--socket-path={self.place.file(name + '.sock')}", *options])

	def run(self, name, command):
		"""Any command that ends up as a daemon on NAME.sock."""
		return self._add(name, command)

	def must_live(self):
		for daemon in self.all:
			daemon.must_live()
