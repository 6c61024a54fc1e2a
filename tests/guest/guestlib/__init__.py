"""Linux guests that drive vio's devices: what tests/guest/run, shell and test-guests.sh are made of.

	place     a temporary directory and the processes in it; all gone at exit
	daemons   the command lines of the back ends
	image     disk images with known contents, and what the host finds in them afterwards
	initramfs the guests' root: busybox, modules, the scripts of ../inside
	guest     a running guest and the lines it reports on its console
	qemu, uml two machines
	viorun    the third one, vio's own; outer: where KVM can't run Linux, a machine with KVM to try it in
	devicejob, mainjob, machinetests what is tried in them; machinejob: the last from outside
	report    the table
"""
