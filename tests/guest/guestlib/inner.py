#!/usr/bin/env python3
"""What is tried of vio run, on a machine whose KVM runs Linux: guestlib/inner.py BUILD_DIR [--wires=W,W] [--only=D,D] [GROUP...]

It prints a line STEP for what happens and a line ROW for each row of the table; machinejob.py reads them. The PCI machines
run beside the MMIO ones: nothing waits for the other's.
"""
import argparse
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
from guestlib import machinetests, viorun           # noqa: E402
from guestlib.place import Failure, Place           # noqa: E402


class Printer:
	def __init__(self):
		self.lock, self.began = threading.Lock(), time.monotonic()

	def line(self, word, value):
		with self.lock:
			print(f"{word} {json.dumps(value)}", flush=True)

	def step(self, text):
		self.line("STEP", f"({time.monotonic() - self.began:.0f} s) {text}")

	def rows(self, rows):
		for row in rows:
			self.line("ROW", row)


def lane(place, options, wire, printer):
	"""All that is tried over one wire, one after the other. Whatever goes wrong is a row."""
	for name, function in machinetests.groups(wire, options.groups, options.emulated):
		bench = machinetests.Bench(place, options.build, wire, options.only, printer.step)
		try:
			printer.rows(function(bench))
		except (Failure, OSError, ValueError, KeyError) as problem:
			printer.rows([("the machine", f"Linux in vio run ({wire.upper()})", name, "", False, f"{type(problem).__name__}: {problem}")])
		bench.end()


def main():
	parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
	parser.add_argument("build")
	parser.add_argument("groups", nargs="*")
	parser.add_argument("--wires", default=",".join(viorun.WIRES))
	parser.add_argument("--emulated", action="store_true", help="this KVM is not a processor's")
	parser.add_argument("--only", type=lambda names: names.split(","))
	options = parser.parse_args()
	printer = Printer()
	with Place() as place:
		lanes = [threading.Thread(target=lane, args=(place, options, wire, printer), daemon=True) for wire in options.wires.split(",")]
		for one in lanes:
			one.start()
		for one in lanes:
			one.join()
	return 0


if __name__ == "__main__":
	sys.exit(main())
