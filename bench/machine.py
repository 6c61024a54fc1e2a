#!/usr/bin/env python3
"""
vio's own machine (vio run) beside QEMU's smallest (microvm): how soon it runs, what memory it takes.

bench/run takes its figures from here.  As a program, bench/machine.py BUILD_DIR KERNEL INITRD, it measures what needs a KVM that
runs Linux: milliseconds from the start of the machine to /sbin/init's first word, a line of JSON a sample.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import time

MEMORY_MIB = 128
LINE = "console=ttyS0 quiet panic=-1 random.trust_cpu=on no_timer_check"
MACHINES = 100


def qemu():
    exe = shutil.which("qemu-system-x86_64")
    return exe and [exe, "-M", "microvm,accel=kvm,isa-serial=on", "-cpu", "host,-arch-capabilities", "-m", f"{MEMORY_MIB}M", "-nodefaults",
                    "-no-user-config", "-display", "none", "-global", "virtio-mmio.force-legacy=false"]


def vio(program):
    return [program, "run", f"--memory={MEMORY_MIB}M"]


def starts(program, kernel, initrd=None):
    """The two machines' command lines for a kernel that speaks on the serial port: name -> command."""
    found = {}
    for name, head in (("vio run, PCI", vio(program)), ("vio run, MMIO", vio(program) + ["--transport=mmio"])):
        found[name] = head + [f"--kernel={kernel}"] + ([f"--initrd={initrd}", f"--append={LINE}"] if initrd else [])
    if qemu():
        found["QEMU microvm"] = qemu() + ["-serial", "stdio", "-kernel", kernel] + (["-initrd", initrd, "-append", LINE] if initrd else [])
    return found


def sample(start, command):
    """Milliseconds until it says "!"."""
    done = subprocess.run([start, "-", *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return float(done.stdout) if done.returncode == 0 else None


def proportional_kib(pid, guest_kib):
    """What a process takes beside the memory of its guest: the sum of its mappings' shares, but for that one."""
    total, size, share = 0, 0, 0
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as maps:
        for line in maps:
            found = re.match(r"(Size|Pss): +(\d+) kB", line)
            if found and found[1] == "Size":
                size = int(found[2])
            elif found:
                share = int(found[2])
                total += share if size < guest_kib // 2 else 0
    return total


def made(folder):
    """The smallest guest (first.S), linked; None where there is no compiler for it."""
    source, path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "first.S"), os.path.join(folder, "first.elf")
    for command in (["cc", "-c", source, "-o", path + ".o"], ["ld", "-n", "-Ttext=0x200000", "-e", "begin", path + ".o", "-o", path]):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
    return path


def inits(build, rounds):
    """name -> samples of the start to /sbin/init, and a word on where: within an emulated machine if KVM runs no Linux here."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "guest"))
    from guestlib import initramfs, outer, qemu, viorun, vmlinux
    from guestlib.guest import Guest
    from guestlib.place import Place
    nested, got = viorun.missing(), {}
    if qemu.missing() or (nested and outer.missing()):
        return {}, f" (not measured: {qemu.missing() or outer.missing()})"
    with Place() as place:
        archive = initramfs.Archive()
        for folder in ("bin", "dev"):
            archive.folder(folder)
        archive.add("dev/console", 0o020600, device=(5, 1))
        archive.file("bin/sh", initramfs.static_busybox())
        archive.file("bin/sleep", initramfs.static_busybox())
        archive.file("init", b"#!/bin/sh\necho '!'\nexec /bin/sleep 1000\n")
        initrd, kernel = place.file("init.cpio"), place.file("vmlinux")
        with open(initrd, "wb") as file:
            file.write(archive.bytes())
        vmlinux.extract(qemu.kernel()[0], kernel)
        command = [sys.executable, os.path.abspath(__file__), os.path.abspath(build), kernel, initrd, str(rounds)]
        guest = outer.boot(place, build, "outer", command) if nested else Guest(place, "init", command)
        guest.wait_until(lambda: guest.ended, 600, "the end of the samples")
        for line in guest.console:
            if line.startswith("SAMPLE "):
                name, ms = json.loads(line.removeprefix("SAMPLE "))
                got.setdefault(name, []).append(ms)
    return got, ", KVM itself emulated by QEMU" if nested else ""


def paused(folder, program, kernel, count, other):
    """(memory beside the guests' in KiB, or None if one has ended; seconds until all were there)"""
    machines = Paused(folder, program, kernel, count, other)
    try:
        return machines.memory(), machines.seconds
    finally:
        machines.end()


class Paused:
    """Machines that were made and don't run, with a disk and a network each."""

    def __init__(self, folder, program, kernel, count, other=None):
        self.processes = []
        self.began = time.monotonic()
        for i in range(count):
            disk = os.path.join(folder, f"paused{i}.img")
            with open(disk, "wb") as file:
                file.truncate(1 << 20)
            control = os.path.join(folder, f"paused{i}.ctl")
            if os.path.exists(control):     # of one that was killed: this one is not ready yet
                os.unlink(control)
            if other:
                command = [*other, "-S", "-serial", "null", "-kernel", kernel, "-drive", f"file={disk},if=none,id=d,format=raw", "-device",
                           "virtio-blk-device,drive=d", "-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n", "-qmp",
                           f"unix:{control},server=on,wait=off"]
            else:
                command = [*vio(program), f"--kernel={kernel}", f"--blk={disk}", "--net", "--serial=none", "--paused", f"--control={control}"]
            self.processes.append((subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), control))
        for process, control in self.processes:
            while not os.path.exists(control) and process.poll() is None:
                time.sleep(0.005)
        self.seconds = time.monotonic() - self.began

    def memory(self):
        """Proportional memory beside the guests', KiB in all; None if one of them has ended."""
        time.sleep(0.3)
        if any(process.poll() is not None for process, _ in self.processes):
            return None
        return sum(proportional_kib(process.pid, MEMORY_MIB << 10) for process, _ in self.processes)

    def end(self):
        for process, _ in self.processes:
            process.kill()
        for process, _ in self.processes:
            process.wait()


def main():
    build, kernel, initrd, rounds = sys.argv[1:]
    for _ in range(int(rounds)):
        for name, command in starts(os.path.join(build, "cmd", "vio"), kernel, initrd).items():
            print("SAMPLE " + json.dumps([name, sample(os.path.join(build, "bench", "start"), command)]), flush=True)


if __name__ == "__main__":
    main()
