"""What the measurements share: the probe, daemons that are started and ended, samples taken in turn, figures of /proc."""
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

DAEMON_CPU, LOAD_CPU = "0", "1"
FAR_NS = 100            # a cache line that takes longer one way: the processors are far apart now
BUSY_NS = 400           # and so long: something else runs on them
DISTURBED = 0.05        # of the time something else had a processor: the sample is worth little, and BUSY too


def state_of(ns):
    return "BUSY" if ns > BUSY_NS else "FAR" if ns > FAR_NS else "NEAR"


class Missing(Exception):
    """A program to compare with is not installed."""


class Failed(Exception):
    """Something that should run does not."""


class Bench:
    def __init__(self, build, quick, scratch):
        self.build, self.quick = build, quick
        self.vio = os.path.join(build, "cmd", "vio")
        self.rounds = 2 if quick else 5
        self.seconds = 0.3 if quick else 0.8
        self.dir = tempfile.mkdtemp(prefix="vio-bench-")
        self.shm = tempfile.mkdtemp(prefix="vio-bench-", dir="/dev/shm")
        self.disk = tempfile.mkdtemp(prefix="vio-bench-", dir=scratch)
        self.probes = []
        self.waited = 0         # ns in which something else had the processor of what was measured, since set to 0

    def close(self):
        for d in (self.dir, self.shm, self.disk):
            shutil.rmtree(d, ignore_errors=True)

    def tool(self, name):
        return os.path.join(self.build, "bench", name)

    def socket_path(self, n=0):
        return os.path.join(self.dir, f"s{n}")

    # ---- the probe ----

    def probe(self):
        ns = float(run([self.tool("probe"), LOAD_CPU, DAEMON_CPU]))
        self.probes.append(ns)
        return ns

    # ---- subjects ----

    def vio_blk(self, file, *more):
        return [self.vio, "blk", f"--socket-path={self.socket_path()}", f"--blk-file={file}", *more]

    def storage_daemon(self, *blockdev):
        """As it comes: its main loop polls by itself, and answers sooner than an I/O thread with a long poll-max-ns."""
        exe = shutil.which("qemu-storage-daemon")
        if not exe:
            raise Missing("qemu-storage-daemon: not installed")
        export = f"type=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path={self.socket_path()},writable=on"
        return [exe, "--blockdev", ",".join((*blockdev, "node-name=n")), "--export", export]

    def vio_fs(self, folder, *more):
        return [self.vio, "fs", f"--socket-path={self.socket_path()}", f"--shared-dir={folder}", "--cache=always", *more]

    def virtiofsd(self, folder):
        """QEMU's own, in C, as Debian has it; it ends with its front end."""
        exe = shutil.which("virtiofsd", path="/usr/lib/qemu:/usr/libexec:" + os.environ.get("PATH", ""))
        if not exe:
            raise Missing("virtiofsd: not installed")
        return [exe, f"--socket-path={self.socket_path()}", "-o", f"source={folder}", "-o", "cache=always", "-o", "sandbox=chroot"]

    def load(self, **options):
        args = [f"--{k.replace('_', '-')}" + ("" if v is True else f"={v}") for k, v in options.items() if v is not False]
        out = run(["taskset", "-c", LOAD_CPU, self.vio, "bench", f"--socket-path={self.socket_path()}", "--json",
                   f"--seconds={self.seconds}", *args])
        return json.loads(out)

    def loaded(self, command, **options):
        """A fresh daemon on its processor, one load on the other: what the load says."""
        spins = any("--poll-us" in c or "null-co" in c for c in command)
        with Daemon(command, [self.socket_path()]) as d:
            before = d.sched_ns()[1]
            said = self.load(**options)
            # who sleeps waits a little at each wakeup, and that is part of what is measured
            self.waited += 0 if "irq" in options else said["waited_ns"]
            self.waited += d.sched_ns()[1] - before if spins else 0
            return said

    # ---- samples in turn ----

    def compare(self, subjects, rounds=None):
        """
        subjects: name -> function that gives a number.  Each round takes one sample of each, the order turned round by
        round, between two probes; a round in which the processors moved, or something else ran on them for long, counts
        for nothing and is taken again (some times at most).
        Returns {state: {name: [samples]}} and {name: why it is missing}.
        """
        rounds = rounds or self.rounds
        states, missing, names, spare = {}, {}, list(subjects), rounds // 2 + 2
        while rounds and names:
            order = names if rounds % 2 else names[::-1]
            before, got, self.waited = self.probe(), {}, 0
            for name in order:
                try:
                    got[name] = subjects[name]()
                except Missing as e:
                    missing[name] = str(e)
            names = [n for n in names if n not in missing]
            after = self.probe()
            disturbed = self.waited > DISTURBED * len(names) * self.seconds * 1e9
            if (disturbed or state_of(before) != state_of(after)) and spare:
                spare -= 1
                continue
            state = states.setdefault("BUSY" if disturbed else state_of(max(before, after)), {"line": []})
            state["line"] += [before, after]
            for name, value in got.items():
                state.setdefault(name, []).append(value)
            rounds -= 1
        return states, missing


def run(command, **kw):
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    if p.returncode:
        raise Failed(f"{' '.join(command)}: {p.stderr.strip() or p.returncode}")
    return p.stdout


def listens(path):
    """Without connecting: some serve a single connection, and end with it."""
    accepts = "00010000"
    with open("/proc/net/unix") as f:
        return any(words[3] == accepts and words[-1] == path for words in map(str.split, f) if len(words) == 8)


class Daemon:
    """Started on its processor, ready when its last socket accepts; ended on the way out."""

    def __init__(self, command, sockets, deadline=20):
        for s in sockets:
            if os.path.exists(s):
                os.unlink(s)
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(["taskset", "-c", DAEMON_CPU, *command], stdout=self.log, stderr=self.log)
        self.pid = self.process.pid
        end = time.monotonic() + deadline
        for s in sockets:
            self._wait(s, end, command)

    def _wait(self, path, end, command):
        while time.monotonic() < end and self.process.poll() is None:
            if listens(path):
                return
            time.sleep(0.002)
        self.stop()
        self.log.seek(0)
        raise Failed(f"{' '.join(command[:6])}... does not serve: {self.log.read()[-500:].strip()}")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def family(self):
        """It and its descendants."""
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for t in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{t}/children") as f:
                    todo += [int(c) for c in f.read().split()]
        return found

    def memory(self):
        """Proportional and resident KiB."""
        total = {"Pss": 0, "Rss": 0}
        for pid in self.family():
            with open(f"/proc/{pid}/smaps_rollup") as f:
                for line in f:
                    key = line.split(":")[0]
                    if key in total:
                        total[key] += int(line.split()[1])
        return total["Pss"], total["Rss"]

    def sched_ns(self):
        """Nanoseconds run, and waited for a processor."""
        ran = waited = 0
        for pid in self.family():
            for t in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{t}/schedstat") as f:
                    a, b, _ = f.read().split()
                    ran, waited = ran + int(a), waited + int(b)
        return ran, waited


def spread(samples):
    """Median, least, greatest."""
    return statistics.median(samples), min(samples), max(samples)
