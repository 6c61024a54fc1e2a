/*
 * The program `vio`.  Each device is a subcommand, and a name the program answers to when it is started by a link (vio-blk),
 * which is how management tools start a back end.
 */
#include "daemon.h"
#include <stdio.h>
#include <string.h>

int vio_cmd_bench(int argc, char **argv);
int vio_cmd_ctl(int argc, char **argv);
int vio_cmd_top(int argc, char **argv);
int vio_cmd_slirp(int argc, char **argv);
int vio_cmd_run(int argc, char **argv);

static const struct command {
	const char *name;
	const struct vio_service *service;	/* a daemon, or NULL */
	int (*run)(int argc, char **argv);	/* what begins it; NULL: vio_daemon() */
	const char *about;
} commands[] = {
	{ "blk", &vio_service_blk, NULL, "serve disks" },
	{ "balloon", &vio_service_balloon, NULL, "serve memory balloons" },
	{ "fs", &vio_service_fs, vio_cmd_fs, "share folders" },
	{ "input", &vio_service_input, NULL, "serve keyboards, mice, tablets and touch screens, real or pressed by a program" },
	{ "net", &vio_service_net, NULL, "serve network devices" },
	{ "rng", &vio_service_rng, NULL, "serve entropy sources" },
	{ "scsi", &vio_service_scsi, NULL, "serve SCSI disks and CD-ROM drives" },
	{ "console", &vio_service_console, NULL, "serve consoles and other ports of bytes" },
	{ "ctl", NULL, vio_cmd_ctl, "tell a running daemon what to do, over its control socket" },
	{ "top", NULL, vio_cmd_top, "watch the queues of running daemons" },
	{ "switch", &vio_service_switch, NULL, "connect guests with each other" },
	{ "slirp", NULL, vio_cmd_slirp, "user-mode networking behind a packet socket, for vio net and others" },
	{ "vsock", &vio_service_vsock, NULL, "serve sockets between guests and the host" },
	{ "run", NULL, vio_cmd_run, "run a virtual machine with these devices, on KVM" },
	{ "bench", NULL, vio_cmd_bench, "load any vhost-user block or file system back end and measure it" },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void help(void)
{
	printf("vio serves virtio devices to virtual machines over vhost-user, and runs machines of its own.\n\n");
	for (unsigned i = 0; i < COMMANDS; i++)
		printf("  vio %-8s %s\n", commands[i].name, commands[i].about);
	printf("\nvio COMMAND --help tells the options, and so does the manual page vio(1).\n"
	       "A disk for QEMU:\n\n"
	       "  vio blk --socket-path=/tmp/d.sock --blk-file=disk.img &\n"
	       "  qemu-system-x86_64 -m 1G -object memory-backend-memfd,id=m,size=1G,share=on -machine q35,memory-backend=m \\\n"
	       "    -chardev socket,id=d,path=/tmp/d.sock -device vhost-user-blk-pci,chardev=d\n");
}

static const struct command *find(const char *name)
{
	for (unsigned i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int run(const struct command *c, int argc, char **argv)
{
	return c->run ? c->run(argc, argv) : vio_daemon(c->service, argc, argv);
}

int main(int argc, char **argv)
{
	const char *self = argc > 0 && argv[0] ? argv[0] : "vio", *slash = strrchr(self, '/');
	const char *base = slash ? slash + 1 : self;
	const struct command *c = strncmp(base, "vio-", 4) ? NULL : find(base + 4);

	if (c)
		return run(c, argc, argv);
	if (argc < 2 || !strcmp(argv[1], "--help")) {
		help();
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("vio %s\n", VIO_VERSION);
		return 0;
	}
	c = find(argv[1]);
	if (c)
		return run(c, argc - 1, argv + 1);
	vio_say("vio", "there is no command \"%.40s\": vio --help lists those there are", argv[1]);
	return 2;
}
