"""A temporary directory and the processes started for it.

Whatever ends the program (success, failure, a signal, even SIGKILL), each process is killed with its whole process
group and the directory is removed. The one who does it is the keeper, a shell that waits for the end of a pipe.
"""
import os
import signal
import subprocess
import tempfile
import time

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
KEEPER = '''cat
for file in "$1"/alive/*; do [ -e "$file" ] && kill -9 $(cat "$file"); done
rm -rf "$1"'''


class Failure(Exception):
	"""Something that the reader must be told; not a mistake in these scripts."""


def _stop(signum, _frame):
	raise SystemExit(128 + signum)


class Place:
	def __enter__(self):
		for number in SIGNALS:
			signal.signal(number, _stop)
		os.environ["PATH"] += ":/usr/sbin:/sbin"	# mkfs, fsck and debugfs, also for users
		self.path = tempfile.mkdtemp(prefix="vio-")
		os.mkdir(self.file("alive"))
		self.processes = []
		self.keeper = subprocess.Popen(["sh", "-c", KEEPER, "keeper", self.path], start_new_session=True,
			stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
		return self

	def __exit__(self, *_):
		for number in SIGNALS:
			signal.signal(number, signal.SIG_IGN)
		self.keeper.stdin.close()
		self.keeper.wait()
		for process in self.processes:
			process.wait()

	def file(self, name):
		return os.path.join(self.path, name)

	def start(self, command, terminal=False, **options):
		"""Starts a process that must not outlive this program. Its group is its own, except on a terminal."""
		process = subprocess.Popen(command, start_new_session=not terminal, **options)
		with open(self.file(f"alive/{process.pid}"), "w", encoding="ascii") as file:
			file.write(f"{process.pid if terminal else -process.pid}")
		self.processes.append(process)
		return process

	def kill(self, process):
		"""Ends a process and all that it started, which may outlive it."""
		try:
			os.killpg(process.pid, signal.SIGKILL)
		except ProcessLookupError:
			pass
		process.wait()
		self.gone(process)

	def gone(self, process):
		"""A process has been waited for, and its number may soon be another's."""
		if process in self.processes:
			self.processes.remove(process)
			os.unlink(self.file(f"alive/{process.pid}"))

	def run(self, *command, timeout=30):
		"""Runs a program to its end and returns what it printed; failing is an exception that carries its words."""
		try:
			done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
				timeout=timeout, text=True, errors="replace", check=False)
		except FileNotFoundError:
			raise Failure(f"{command[0]} is not installed") from None
		except subprocess.TimeoutExpired:
			raise Failure(f"{command[0]} did not end within {timeout} s") from None
		if done.returncode:
			raise Failure(f"{' '.join(command)} ended with {done.returncode}: {done.stdout.strip()[-400:]}")
		return done.stdout


def wait_until(condition, seconds, what):
	"""Waits for something outside that gives no event to wait for: a socket in the file system, an answer of QEMU."""
	end = time.monotonic() + seconds
	while not condition():
		if time.monotonic() > end:
			raise Failure(f"{what} did not happen within {seconds} s")
		time.sleep(0.01)
