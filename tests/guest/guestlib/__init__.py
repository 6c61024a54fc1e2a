"""Linux guests that drive vio's devices: what tests/guest/run, shell and test-guests.sh are made of.

	place     a temporary directory and the processes in it; all gone at exit
	daemons   the command lines of the back ends
	image     disk images with known contents, and what the host finds in them afterwards
	initramfs the guests' root: busybox, modules, the scripts of ../inside
	guest     a running guest and the lines it reports on its console
	qemu, uml the two machines
	report    the table
"""
