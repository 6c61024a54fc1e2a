/* The command line of `vio run`: the machine's own options, and what only all of them together tell. */
#include "run_words.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/host/why.h>
#include <vmm/x86/layout.h>

#define MIB (UINT64_C(1) << 20)
#define MEMORY_MIN (16 * MIB)
#define MEMORY_PART (2 * MIB)
#define MEMORY_MAX (MIB << 20)
#define MEMORY_PRESET (512 * MIB)

enum {
	KERNEL, INITRD, APPEND, MEMORY, CPUS, TRANSPORT, BLK, SCSI, NET, FS, CONSOLE, RNG, BALLOON, INPUT, VSOCK, VHOST_USER, ISOLATE,
	CONTROL, SERIAL, RESTORE, INCOMING, TLS_PSK, TLS_CERT, PAUSED, SANDBOX, VERBOSE, HELP, VERSION, END
};

static const struct vio_opt options[END] = {
	[KERNEL] = { "kernel", "IMAGE", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 4095,
		.help = "The kernel that is started: a bzImage, or an ELF file with a PVH entry (vmlinux)." },
	[INITRD] = { "initrd", "FILE", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 4095, .help = "What the kernel finds as its first file system." },
	[APPEND] = { "append", "TEXT", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, VMM_COMMAND_LINE_MAX - 1, .help = "The kernel's command line." },
	[MEMORY] = { "memory", "SIZE", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 31, .help = "Memory of the guest, like 512M (the default) or 4G." },
	[CPUS] = { "cpus", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 1, VMM_CPUS_MAX, 1, .help = "Processors of the guest; 1." },
	[TRANSPORT] = { "transport", "pci|mmio", VIO_OPT_CHOICE, VIO_OPT_PROCESS,
		.help = "How the guest finds its devices: on a PCI bus (pci, the default), where some can be plugged and unplugged later, or at "
		        "fixed addresses (mmio)." },
	[BLK] = { "blk", "FILE[,WORD]...", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 8191, .many = true,
		.help = "A disk. The words of this and the next options are the options of vio blk and so on without their dashes: "
		        "--blk=disk.img,read-only,num-queues=2. A comma in a value is written twice. Each option may be given many times." },
	[SCSI] = { "scsi", "lun=T:L,,file=FILE[,WORD]...", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 8191, .many = true,
		.help = "A SCSI host with its disks and drives: --scsi=lun=0:0,,file=cd.iso,,cdrom." },
	[NET] = { "net", "BACKEND[,WORD]...", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 8191, .many = true, .bare = true,
		.help = "A network device: --net=user,forward=tcp:2222:22, --net=tap=tap0; user-mode networking unless said." },
	[FS] = { "fs", "FOLDER[,WORD]...", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 8191, .many = true,
		.help = "A folder that the guest can mount: --fs=share,tag=here." },
	[CONSOLE] = { "console", "END[,WORD]...", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 8191, .many = true, .bare = true,
		.help = "A console, and what is at its other end: stdio (unless said), pty[=LINK], socket=PATH, file=PATH, pipe=PATH; or ports: "
		        "port=log,,file=guest.log." },
	[RNG] = { "rng", "FILE[,WORD]...", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 8191, .many = true, .bare = true,
		.help = "Random bytes, the kernel's unless FILE says where else from." },
	[BALLOON] = { "balloon", "SIZE[,WORD]...", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 8191, .many = true, .bare = true,
		.help = "Lets the guest give memory back, SIZE of it at first." },
	[INPUT] = { "input", "KIND[,WORD]...", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 8191, .many = true,
		.help = "A keyboard, mouse, tablet, touch screen or gamepad, pressed over --control; or evdev-path=PATH, a real one." },
	[VSOCK] = { "vsock", "CID,WORD...", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 8191, .many = true,
		.help = "Sockets between guest and host: --vsock=3,uds-path=/tmp/guest." },
	[VHOST_USER] = { "vhost-user", "TYPE,socket=S[,WORD]...", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 8191, .many = true,
		.help = "A device whose back end is another process that listens at S: vio blk or another program. Words: num-queues=, "
		        "queue-size= and, of fs, tag=." },
	[ISOLATE] = { "isolate", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS,
		.help = "Each device is served by a confined process of its own, which the machine starts and speaks vhost-user to." },
	[CONTROL] = { "control", "PATH", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 4000,
		.help = "Listen on a Unix socket at PATH for orders and questions while it runs: vio ctl, vio top (docs/control.md)." },
	[SERIAL] = { "serial", "stdio|none|file:FILE|pty[:LINK]", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 4095,
		.help = "What is at the other end of the first serial port; stdio, or none if a console has that. On a terminal Ctrl-A x "
		        "ends the machine." },
	[RESTORE] = { "restore", "FILE", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 4095,
		.help = "Go on where a snapshot was taken; all other options must be as they were then." },
	[INCOMING] = { "incoming", "tcp:HOST:PORT|unix:PATH", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 4095,
		.help = "Wait for a machine that moves here; all other options must be as there." },
	[TLS_PSK] = { "tls-psk", "FILE", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 4095,
		.help = "Machines move encrypted, with the key in FILE (one line, NAME:HEXADECIMAL), which both sides have." },
	[TLS_CERT] = { "tls-cert", "FOLDER", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 4095,
		.help = "Machines move encrypted, with the certificates in FOLDER: ca-cert.pem, cert.pem, key.pem." },
	[PAUSED] = { "paused", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Do not start the processors before vio ctl PATH resume." },
	[SANDBOX] = { "sandbox", "on|none", VIO_OPT_CHOICE, VIO_OPT_PROCESS,
		.help = "Give up all privileges, files and unneeded system calls before the guest runs (on, the default), or do not (none)." },
	[VERBOSE] = { "verbose", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Say what happens." },
	[HELP] = { "help", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Print this text and end." },
	[VERSION] = { "version", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Print the version and end." },
};

const struct vio_opt_table run_table = {
	.usage = "vio run --kernel=IMAGE [--initrd=FILE] [--append=TEXT] [--blk=FILE] [--net] [options]",
	.about = "Runs a virtual machine with KVM, whose devices are vio's. QEMU and user-mode Linux, which need no KVM, have them by vio's daemons.",
	.own = options, .own_count = END,
};

/* Options that are devices, in the order of their slots. */
static const unsigned char devices[] = { BLK, SCSI, NET, FS, CONSOLE, RNG, BALLOON, INPUT, VSOCK, VHOST_USER };
enum { DEVICES = sizeof devices };

/* ---- The machine's ---- */

static bool take_memory(struct run_words *w, const struct vio_arg *a, char *why)
{
	w->memory = MEMORY_PRESET;
	if (!a->given || (vio_opt_size(a->text, &w->memory) && w->memory % MEMORY_PART == 0 && w->memory >= MEMORY_MIN && w->memory <= MEMORY_MAX))
		return true;
	return vio_refuse(why, "--memory=%.40s cannot be: give a multiple of 2M from 16M to 1T, like 512M", a->text);
}

static bool take_serial(struct run_words *w, const struct vio_arg *a, char *why)
{
	w->serial = RUN_SERIAL_STDIO;
	if (!a->given || !strcmp(a->text, "stdio"))
		return true;
	w->serial = !strcmp(a->text, "none") ? RUN_SERIAL_NONE : !strncmp(a->text, "file:", 5) ? RUN_SERIAL_FILE : RUN_SERIAL_PTY;
	w->serial_file = strchr(a->text, ':');
	if (w->serial_file)
		w->serial_file++;
	if (w->serial == RUN_SERIAL_NONE || (w->serial_file && *w->serial_file && (w->serial == RUN_SERIAL_FILE || !strncmp(a->text, "pty:", 4)))
	    || !strcmp(a->text, "pty"))
		return true;
	return vio_refuse(why, "--serial=%.60s cannot be: give stdio, none, file:FILE, pty or pty:LINK", a->text);
}

static bool is_port(const char *text)
{
	size_t n = strspn(text, "0123456789");
	return n && n <= 5 && !text[n] && atoi(text) > 0 && atoi(text) < 65536;
}

static bool take_incoming(const struct run_words *w, char *why)
{
	const char *colon = w->incoming ? strrchr(w->incoming, ':') : NULL;

	if (!w->incoming || (!strncmp(w->incoming, "unix:", 5) && w->incoming[5]))
		return true;
	if (!strncmp(w->incoming, "tcp:", 4) && colon > w->incoming + 4 && is_port(colon + 1))
		return true;
	return vio_refuse(why, "--incoming=%.60s cannot be: give tcp:HOST:PORT or unix:PATH", w->incoming);
}

static bool take_machine(struct run_words *w, const struct vio_arg *a, char *why)
{
	w->kernel = a[KERNEL].text;
	w->initrd = a[INITRD].text;
	w->append = a[APPEND].text;
	w->cpus = (unsigned)a[CPUS].number;
	w->mmio = a[TRANSPORT].number;
	w->isolate = a[ISOLATE].given;
	w->control = a[CONTROL].text;
	w->restore = a[RESTORE].text;
	w->incoming = a[INCOMING].text;
	w->tls_psk = a[TLS_PSK].text;
	w->tls_cert = a[TLS_CERT].text;
	w->paused = a[PAUSED].given;
	w->no_sandbox = a[SANDBOX].number;
	w->verbose = a[VERBOSE].given;
	if (w->restore && w->incoming)
		return vio_refuse(why, "a machine goes on where a snapshot was taken or where another one stood: keep --restore or --incoming");
	if (!w->kernel && !w->restore && !w->incoming)
		return vio_refuse(why, "it is not said what to run: add --kernel=IMAGE, a bzImage or vmlinux");
	if (!w->kernel && (w->initrd || w->append))
		return vio_refuse(why, "--initrd and --append are for a kernel: add --kernel=IMAGE, or leave them out");
	if (w->tls_psk && w->tls_cert)
		return vio_refuse(why, "machines move with a key or with certificates: keep --tls-psk or --tls-cert");
	if (w->paused && !w->control)
		return vio_refuse(why, "nobody could ever start the machine: add --control=PATH, or leave --paused out");
	return take_memory(w, &a[MEMORY], why) && take_serial(w, &a[SERIAL], why) && take_incoming(w, why);
}

/* ---- The devices ---- */

unsigned run_words_slots(const struct run_words *w) { return w->mmio ? VMM_MMIO_SLOTS : VMM_PCI_SLOTS - 1; }

static unsigned count_devices(const struct vio_arg *a)
{
	unsigned n = 0;
	for (unsigned i = 0; i < DEVICES; i++)
		for (const struct vio_opt_word *w = a[devices[i]].words; w; w = w->next)
			n++;
	return n;
}

/* The text of its option, which for an option that stands alone is empty. */
static bool take_devices(struct run_words *w, const struct vio_arg *a, char *why)
{
	unsigned n = count_devices(a);

	if (n > run_words_slots(w))
		return vio_refuse(why, "there are %u devices, and a machine has %u places with --transport=%s: leave some out", n, run_words_slots(w),
		    w->mmio ? "mmio" : "pci");
	w->device = calloc(n ? n : 1, sizeof *w->device);
	if (!w->device)
		return vio_refuse(why, "there is no memory for %u devices", n);
	for (unsigned i = 0; i < DEVICES; i++) {
		unsigned number = 0;
		for (const struct vio_opt_word *p = a[devices[i]].words; p; p = p->next)
			if (!run_device_make(&w->device[w->devices], w, options[devices[i]].name, p->text, number++, why))
				return false;
			else
				w->devices++;
	}
	return true;
}

/* What several devices have one of. */
static bool take_together(struct run_words *w, const struct vio_arg *a, char *why)
{
	unsigned stdios = 0, vsocks = 0;

	for (unsigned i = 0; i < w->devices; i++) {
		stdios += run_device_takes_stdio(&w->device[i]);
		vsocks += !strcmp(w->device[i].type, "vsock");
	}
	if (vsocks > 1)
		return vio_refuse(why, "a guest has one address: give one --vsock");
	if (stdios && !a[SERIAL].given)
		w->serial = RUN_SERIAL_NONE;
	if (stdios + (w->serial == RUN_SERIAL_STDIO) > 1)
		return vio_refuse(why, "there is one standard input: give one of --serial and the consoles another end than stdio");
	return !stdios || !w->isolate || vio_refuse(why, "with --isolate standard input is none of the devices': give --console another end, such as pty");
}

bool run_words_parse(struct run_words *w, int argc, char **argv, char *why)
{
	*w = (struct run_words){ .kernel = NULL };
	if (!vio_opt_parse(&run_table, argc, argv, &w->args, why))
		return false;
	const struct vio_arg *a = w->args.common;
	w->help = a[HELP].given;
	w->version = a[VERSION].given;
	if (w->help || w->version)
		return true;
	return take_machine(w, a, why) && take_devices(w, a, why) && take_together(w, a, why);
}

void run_words_free(struct run_words *w)
{
	for (unsigned i = 0; i < w->devices; i++)
		run_device_free(&w->device[i]);
	free(w->device);
	vio_opt_free(&w->args);
	*w = (struct run_words){ .kernel = NULL };
}
