"""What each device must do for a Linux that nobody here wrote: one module a device, named like it, with a class Job.

The devices of a machine are tried in one boot (guestlib/devicejob.py; disks and entropy have a job of their own, with a
reboot). For device NAME there is

  devices/NAME.py      class Job(guestlib.devicejob.Device): what the host starts, what the machine is given, what the host
                       does and finds; the rows of the table
  ../inside/dev-NAME   a shell script, sourced in the guest when NAME is among its devices: uses `check NAME WHAT COMMAND…`
                       (inside/init), $opt_NAME_… for settings from words(), and programs from inside/*.c, which are
                       compiled, statically, for the guest
"""
NAMES = (                       # in the order in which the guest tries them
	"balloon",
	"rng",
	"scsi",
	"console",
	"input",
	"vsock",
	"fs",
	"net",
	"switch",
)
