"""A running guest: its console, and the report lines on it."""
import os
import re
import subprocess
import threading
import time

from .place import Failure

LINE = re.compile(r"VIO (\S+) (\S+) (ok|failed)\b ?(.*)")
TAIL = 25


class Guest:
	"""A guest whose console is the standard output of `command`; `reports` is {(subject, check): (verdict, detail)}."""

	def __init__(self, place, name, command, environment=None, descriptors=()):
		self.place, self.name, self.command = place, name, command
		self.reports, self.console = {}, []
		self.news = threading.Condition()
		self.ended = False
		self.process = place.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
			env={**os.environ, **(environment or {})}, pass_fds=descriptors)
		self.reader = threading.Thread(target=self._read, daemon=True)
		self.reader.start()

	def _read(self):
		for raw in self.process.stdout:
			line = raw.decode("utf-8", "replace").rstrip()
			with self.news:
				self.console.append(line)
				found = LINE.search(line)
				if found:
					subject, check, verdict, detail = found.groups()
					# A check that failed once stays failed, whatever a later boot says.
					if self.reports.get((subject, check), ("ok", ""))[0] == "ok":
						self.reports[subject, check] = (verdict, detail)
				self.news.notify_all()
		with self.news:
			self.ended = True
			self.news.notify_all()

	def tail(self):
		with self.news:
			return "\n".join(f"    {self.name}| {line}" for line in self.console[-TAIL:])

	def wait_until(self, condition, seconds, what):
		end = time.monotonic() + seconds
		with self.news:
			while not condition():
				left = end - time.monotonic()
				if left <= 0 or self.ended:
					why = f"the guest ended ({self.process.wait()})" if self.ended else f"{seconds} s passed"
					break
				self.news.wait(left)
			else:
				return
		raise Failure(f"{self.name}: {why} before {what}. The end of its console:\n{self.tail()}")

	def wait_report(self, subject, check, seconds):
		"""Waits for one report line; a failed one is a Failure."""
		self.wait_until(lambda: (subject, check) in self.reports, seconds, f'"{subject} {check}" was reported')
		verdict, detail = self.reports[subject, check]
		if verdict != "ok":
			raise Failure(f"{self.name}: {subject} {check} failed: {detail}\n{self.tail()}")
		return detail

	def pause(self, seconds):
		"""Lets the guest run on for a while: where a test must strike at no particular moment."""
		time.sleep(seconds)

	def tell(self, line):
		"""Types a line on the guest's console."""
		try:
			self.process.stdin.write(line.encode() + b"\n")
			self.process.stdin.flush()
		except BrokenPipeError:
			raise Failure(f"{self.name} ended with {self.process.wait()} before it was told\n{self.tail()}") from None

	def wait_end(self, seconds):
		"""Waits for power-off."""
		self.wait_until(lambda: self.ended, seconds, "it powered off")
		code = self.process.wait()
		self.place.kill(self.process)		# what it may have left behind
		if code:
			raise Failure(f"{self.name} ended with {code}\n{self.tail()}")

	def kill(self):
		self.place.kill(self.process)
		self.reader.join(5)

	def verdict(self, subject, check):
		"""(good, detail) of one check; what was never reported is a failure."""
		verdict, detail = self.reports.get((subject, check), ("failed", "the guest never said"))
		return verdict == "ok", detail

	def kernel(self):
		return self.reports.get(("guest", "hello"), ("", "Linux"))[1]
