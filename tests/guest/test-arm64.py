#!/usr/bin/env python3
# timeout: 600
"""vio run on arm64, where there may be none: tests/guest/test-arm64.py [BUILD_DIR]

Builds vio for arm64 (in build-arm64, whatever BUILD_DIR is), and boots Linux in it in Linux in an emulated arm64 machine.
Prints TAP.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from guestlib import arm64                                  # noqa: E402
from guestlib.place import Failure, Place                   # noqa: E402

BOOT_SECONDS, SECONDS = 90, 450
ROWS = (        # (words, checks, wires)
	("Linux starts both processors", ("cpus",), "pci mmio"),
	("Linux starts once more after a reset", ("again",), "pci"),
	("interrupts are messages, by the ITS", ("messages",), "pci"),
	("interrupts are lines", ("lines",), "mmio"),
	("a disk is written and read; the host finds it so", ("blk", "blk-again", "blk-file"), "pci mmio"),
	("random bytes", ("rng",), "pci mmio"),
	("a SCSI disk is written and read; the host finds it so", ("scsi", "scsi-file"), "pci mmio"),
	("a network: packets there and back, a file by HTTP", ("ping", "http"), "pci mmio"),
	("a shared folder is read and written; the host finds it so", ("fs", "fs-file"), "pci mmio"),
	("what is said to a port arrives", ("console", "console-file"), "pci mmio"),
	("a megabyte through a socket to the guest, and back", ("vsock",), "pci mmio"),
	("memory is taken for the balloon, and given back", ("inflated", "deflated"), "pci mmio"),
	("a key that is pressed", ("input",), "pci mmio"),
	("what is typed at its serial port", ("typed",), "pci mmio"),
	("paused, it does nothing; resumed, it goes on", ("paused",), "pci mmio"),
	("a snapshot is taken, and goes on in another process", ("snapshot", "restored"), "pci"),
	("its kernel complains about nothing", ("log",), "pci mmio"),
	("it switches itself off by PSCI, and vio run ends with status 0", ("end",), "pci mmio"),
)


def result(number, good, name, why):
	if not good:
		for line in why.splitlines() or ["no reason given"]:
			print(f"# {line}")
	print(f"{'ok' if good else 'not ok'} {number} - {name}", flush=True)


def main():
	with Place() as place:
		why = arm64.missing() or arm64.fetch()
		if why:
			print(f"1..0 # SKIP {why}")
			return 0
		rows = [(wire, words, checks) for wire in ("pci", "mmio") for words, checks, wires in ROWS if wire in wires.split()]
		print(f"1..{len(rows)}")
		trouble, guest = "", None
		try:
			guest = arm64.boot(place, arm64.build())
			guest.wait_report("outer", "hello", BOOT_SECONDS)
			guest.wait_report("outer", "end", SECONDS)
			guest.wait_end(BOOT_SECONDS)
		except Failure as problem:
			trouble = str(problem)
		bad, trouble = 0, trouble or (guest.tail() if guest else "")
		for number, (wire, words, checks) in enumerate(rows, 1):
			verdicts = [(check, *(guest.verdict(wire, check) if guest else (False, ""))) for check in checks]
			why = "\n".join(f"{check}: {detail}" for check, good, detail in verdicts if not good)
			bad += bool(why)
			result(number, not why, f"{wire}: {words} (Linux in vio run on arm64)", f"{why}\n{trouble}")
			trouble = trouble if not why else ""    # once is enough
		return 1 if bad else 0


if __name__ == "__main__":
	sys.exit(main())
