"""Loads on network back ends: DPDK's testpmd, with its virtio-user port, drives ours and its own."""
import os
import re
import shutil
import statistics
import subprocess
import time

import measure
from measure import Daemon, Failed, Missing

MEMORY = ["--no-huge", "-m", "256", "--no-pci", "--no-telemetry"]
PACKETS = ["--total-num-mbufs=16384", "--no-mlockall"]
WARM = 1                # of the figures that it prints each second, those that count for nothing


def testpmd():
    exe = shutil.which("dpdk-testpmd")
    if not exe:
        raise Missing("testpmd: dpdk is not installed")
    return exe


def lcores(cpu):
    """Two threads of DPDK's on one processor, of which one prints and sleeps."""
    return f"--lcores=0@{cpu},1@{cpu}"


# What the load does, and what the back end has to do meanwhile.
PEER = {"txonly": "rxonly", "rxonly": "txonly", "io": "flowgen"}


def ours(b, mode, size):
    """A null link: it sinks, and makes frames where the load wants some."""
    source = [] if mode == "txonly" else [f"--frame-size={size}"]
    return [b.vio, "net", f"--socket-path={b.socket_path()}", "--backend=null", *source, "--poll"]


def theirs(b, mode, size):
    return [testpmd(), lcores(measure.DAEMON_CPU), *MEMORY, f"--file-prefix=vio{os.getpid()}d",
            f"--vdev=net_vhost0,iface={b.socket_path()},queues=1", "--", f"--forward-mode={PEER[mode]}", f"--txpkts={size}",
            "--stats-period=10", *PACKETS]


def load(b, mode, size, packed, mergeable):
    """Frames a second through the load's port: both directions together in io mode."""
    command = [testpmd(), lcores(measure.LOAD_CPU), *MEMORY, f"--file-prefix=vio{os.getpid()}l",
               f"--vdev=net_virtio_user0,path={b.socket_path()},queues=1,queue_size=1024,packed_vq={int(packed)},mrg_rxbuf={int(mergeable)}",
               "--", f"--forward-mode={mode}", f"--txpkts={size}", "--stats-period=1", *PACKETS]
    seconds = WARM + (1 if b.quick else 2)
    p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    rates, said = [], []
    for line in p.stdout:
        said.append(line)
        m = re.search(r"(Rx|Tx)-pps:\s+(\d+)", line)
        if m:
            rates.append((m[1], int(m[2])))
            if len(rates) == 2 * (seconds + 1):
                break
    p.terminate()
    try:
        p.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        p.kill()
        p.communicate()
    if len(rates) < 2 * (seconds + 1):
        raise Failed("testpmd ends early: " + "".join(said[-5:]).strip())
    rates = rates[2 * WARM + 2:]
    wanted = {"txonly": ("Tx",), "rxonly": ("Rx",), "io": ("Tx", "Rx")}[mode]
    return sum(statistics.median(n for way, n in rates if way == w) for w in wanted)


def loaded(b, command, **o):
    with Daemon(command, [b.socket_path()]) as d:
        before = d.sched_ns()[1]
        time.sleep(0.2)
        rate = load(b, **o)
        b.waited += (d.sched_ns()[1] - before) * b.seconds / 4     # of about 4 s, to the scale of the other measurements
        return rate
