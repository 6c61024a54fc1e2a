/* The command line of vio run: what it becomes, what is refused, in which words. */
#include "../test.h"
#include <cmd/run_words.h>
#include <stdio.h>
#include <string.h>

enum { WORDS = 40 };
#define K "--kernel=bzImage"

static int count(const char *const *args)
{
	int n = 0;
	while (args[n])
		n++;
	return n;
}

/* As main() has them: argv[0] first. */
static bool parse(struct run_words *w, const char *const *args, char *why)
{
	char *argv[WORDS + 1] = { (char *)(uintptr_t)"run" };
	int n = count(args);

	for (int i = 0; i < n; i++)
		argv[i + 1] = (char *)(uintptr_t)args[i];
	return run_words_parse(w, n + 1, argv, why);
}

/* ---- Bad ---- */

static const struct { const char *args[6]; const char *sentence; } refusals[] = {
	/* the machine */
	{ { NULL }, "it is not said what to run: add --kernel=IMAGE, a bzImage or vmlinux" },
	{ { K, "--initrd" }, "--initrd needs a value: write --initrd=FILE" },
	{ { K, K }, "--kernel is given twice: keep one" },
	{ { "--restore=s", "--append=x" }, "--initrd and --append are for a kernel: add --kernel=IMAGE, or leave them out" },
	{ { K, "--memory=17M" }, "--memory=17M cannot be: give a multiple of 2M from 16M to 1T, like 512M" },
	{ { K, "--memory=2T" }, "--memory=2T cannot be: give a multiple of 2M from 16M to 1T, like 512M" },
	{ { K, "--memory=64M1" }, "--memory=64M1 cannot be: give a multiple of 2M from 16M to 1T, like 512M" },
	{ { K, "--memory=67108865" }, "--memory=67108865 cannot be: give a multiple of 2M from 16M to 1T, like 512M" },
	{ { K, "--cpus=0" }, "--cpus=0 cannot be: give a number from 1 to 64" },
	{ { K, "--cpus=65" }, "--cpus=65 cannot be: give a number from 1 to 64" },
	{ { K, "--transport=ccw" }, "--transport=ccw cannot be: give pci or mmio" },
	{ { K, "--serial=tty" }, "--serial=tty cannot be: give stdio, none, file:FILE, pty or pty:LINK" },
	{ { K, "--serial=file:" }, "--serial=file: cannot be: give stdio, none, file:FILE, pty or pty:LINK" },
	{ { K, "--serial=stdio:x" }, "--serial=stdio:x cannot be: give stdio, none, file:FILE, pty or pty:LINK" },
	{ { K, "--restore=s", "--incoming=unix:p" },
		"a machine goes on where a snapshot was taken or where another one stood: keep --restore or --incoming" },
	{ { "--incoming=here" }, "--incoming=here cannot be: give tcp:HOST:PORT or unix:PATH" },
	{ { "--incoming=unix:" }, "--incoming=unix: cannot be: give tcp:HOST:PORT or unix:PATH" },
	{ { "--incoming=tcp:host" }, "--incoming=tcp:host cannot be: give tcp:HOST:PORT or unix:PATH" },
	{ { "--incoming=tcp::1" }, "--incoming=tcp::1 cannot be: give tcp:HOST:PORT or unix:PATH" },
	{ { "--incoming=tcp:host:65536" }, "--incoming=tcp:host:65536 cannot be: give tcp:HOST:PORT or unix:PATH" },
	{ { K, "--tls-psk=a", "--tls-cert=b" }, "machines move with a key or with certificates: keep --tls-psk or --tls-cert" },
	{ { K, "--paused" }, "nobody could ever start the machine: add --control=PATH, or leave --paused out" },
	{ { K, "--socket-path=x" }, "there is no option --socket-path: --help lists those there are" },
	/* devices */
	{ { K, "--blk" }, "--blk needs a value: write --blk=FILE[,WORD]..." },
	{ { K, "--rng=" }, "--rng has an empty value: give --rng=FILE[,WORD]..." },
	{ { K, "--blk=disk.img,readonly" }, "--blk=disk.img,readonly: there is no option --readonly: did you mean --read-only?" },
	{ { K, "--blk=disk.img,,read-only,blk-file=b" }, "--blk=disk.img,,read-only,blk-file=b: --blk-file is given twice: keep one" },
	{ { K, "--blk=read-only" }, "--blk=read-only: it is not said which image to serve: add --blk-file=FILE" },
	{ { K, "--blk=a,num-queues" }, "--blk=a,num-queues: --num-queues needs a value: write --num-queues=N" },
	{ { K, "--blk=a,num-queues=65" }, "--blk=a,num-queues=65: --num-queues=65 cannot be: give a number from 1 to 64" },
	{ { K, "--blk=a,read-only=yes" }, "--blk=a,read-only=yes: --read-only takes no value: write --read-only alone" },
	{ { K, "--blk=file=a" }, "--blk=file=a: there is no option --file: --help lists those there are" },
	{ { K, "--blk=a," }, "--blk=a,: there is a comma too many: a comma in a value is written twice" },
	{ { K, "--blk=a,read-only,,cache=none" }, "--blk=a,read-only,,cache=none: there is no option --read-only,cache: --help lists those there are" },
	{ { K, "--blk=ram:1" }, "--blk=ram:1: --blk-file=ram:1 cannot be: give a size of whole 512-byte blocks, like ram:64M" },
	{ { K, "--scsi=lun=0:0" }, "--scsi=lun=0:0: --lun=0:0 does not say which image it is: add file=FILE (only a CD-ROM drive may be empty)" },
	{ { K, "--scsi=num-queues=1" },
		"--scsi=num-queues=1: it is not said what to serve: add --lun=0:0,file=FILE, or --control=PATH to add units later" },
	{ { K, "--net=tap=tap0,backend=user" }, "--net=tap=tap0,backend=user: --backend=user and --tap do not agree: leave out one of them" },
	{ { K, "--input=keyboard,evdev-path=/dev/input/event0" },
		"--input=keyboard,evdev-path=/dev/input/event0: --kind and --evdev-path exclude each other: keep one" },
	{ { K, "--console=stdio,lossy" }, "--console=stdio,lossy: there is no option --lossy: --help lists those there are" },
	{ { K, "--vsock=2,uds-path=x" }, "--vsock=2,uds-path=x: --guest-cid=2 is a reserved context id: give one from 3 to 4294967294" },
	{ { K, "--vsock=3,uds-path=x", "--vsock=4,uds-path=y" }, "a guest has one address: give one --vsock" },
	/* what is not a device's to be told */
	{ { K, "--blk=a,socket-path=s" },
		"--blk=a,socket-path=s: socket-path is for a daemon and its socket, which a machine's own device has not: leave it out" },
	{ { K, "--rng=iommu" }, "--rng=iommu: iommu is for a daemon and its socket, which a machine's own device has not: leave it out" },
	{ { K, "--rng=fd=3" }, "--rng=fd=3: fd is for a daemon and its socket, which a machine's own device has not: leave it out" },
	{ { K, "--rng=once" }, "--rng=once: once is for a daemon and its socket, which a machine's own device has not: leave it out" },
	{ { K, "--isolate", "--rng=stop-deadline=5" },
		"--rng=stop-deadline=5: stop-deadline is for a daemon and its socket, which a machine's own device has not: leave it out" },
	{ { K, "--blk=a,control=c" },
		"--blk=a,control=c: control is not for one device: the machine has one control socket for all: give --control=PATH beside the device" },
	{ { K, "--blk=a,sandbox=none" },
		"--blk=a,sandbox=none: sandbox is not for one device: confinement is the machine's affair: give --sandbox=on|none beside the device" },
	{ { K, "--blk=a,verbose" }, "--blk=a,verbose: verbose is not for one device: it is the machine's: give --verbose beside the device" },
	{ { K, "--blk=a,help" }, "--blk=a,help: help is not for one device: vio DEVICE --help lists a device's options" },
	{ { K, "--blk=a,threads=2" },
		"--blk=a,threads=2: threads is for a daemon: leave it out, or add --isolate, which makes one of each device" },
	{ { K, "--net=user,poll" }, "--net=user,poll: poll is for a daemon: leave it out, or add --isolate, which makes one of each device" },
	{ { K, "--vsock=3,groups=a" },
		"--vsock=3,groups=a: groups are for the guests of one daemon: serve this one by vio vsock and --vhost-user=vsock,socket=PATH" },
	/* other people's back ends */
	{ { K, "--vhost-user=socket=s" },
		"--vhost-user=socket=s: it begins with what the device is, such as blk, net or fs: give --vhost-user=TYPE,socket=PATH" },
	{ { K, "--vhost-user=floppy,socket=s" },
		"--vhost-user=floppy,socket=s: it begins with what the device is, such as blk, net or fs: give --vhost-user=TYPE,socket=PATH" },
	{ { K, "--vhost-user=blk" }, "--vhost-user=blk: it is not said where the back end listens: add socket=PATH" },
	{ { K, "--vhost-user=blk,socket=s,read-only" },
		"--vhost-user=blk,socket=s,read-only: read-only says nothing here: there may be socket=PATH, num-queues=N, queue-size=N and, of fs, "
		"tag=NAME of at most 36 characters" },
	{ { K, "--vhost-user=blk,socket=s,queue-size=100" },
		"--vhost-user=blk,socket=s,queue-size=100: queue-size=100 cannot be: give a power of two from 1 to 32768" },
	{ { K, "--vhost-user=fs,socket=s" },
		"--vhost-user=fs,socket=s: a file system's name is told by the machine: add tag=NAME, by which the guest mounts it" },
	/* one standard input */
	{ { K, "--console", "--serial=stdio" },
		"there is one standard input: give one of --serial and the consoles another end than stdio" },
	{ { K, "--console=stdio", "--console=port=a,,stdio" },
		"there is one standard input: give one of --serial and the consoles another end than stdio" },
	{ { K, "--console", "--isolate" },
		"with --isolate standard input is none of the devices': give --console another end, such as pty" },
};

static void refused(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		char why[VIO_OPT_WHY] = "";
		struct run_words w;
		bool ok = parse(&w, refusals[i].args, why);
		if (ok || strcmp(why, refusals[i].sentence)) {
			wrong++;
			print_message("# row %zu: %s\n", i, ok ? "taken" : why);
		}
		run_words_free(&w);
	}
	assert_int_equal(wrong, 0);
}

/* ---- Good ---- */

/* The device that an option becomes, as its daemon would be told. */
static const struct { const char *args[5]; const char *name, *daemon; } taken[] = {
	{ { K, "--blk=disk.img" }, "blk0", "vio blk --blk-file=disk.img" },
	{ { K, "--blk=disk.img,read-only,num-queues=2" }, "blk0", "vio blk --blk-file=disk.img --read-only --num-queues=2" },
	{ { K, "--blk=disk.img,ring=split" }, "blk0", "vio blk --blk-file=disk.img --ring=split" },
	{ { K, "--blk=read-only,blk-file=disk.img" }, "blk0", "vio blk --read-only --blk-file=disk.img" },
	{ { K, "--blk=a,,b.img" }, "blk0", "vio blk --blk-file=a,b.img" },
	{ { K, "--blk=./a=b.img" }, "blk0", "vio blk --blk-file=./a=b.img" },
	{ { K, "--blk=nbd:nbd+unix:///x?socket=/s,serial=7" }, "blk0", "vio blk --blk-file=nbd:nbd+unix:///x?socket=/s --serial=7" },
	{ { K, "--blk=ram:1M,zoned=size=64K,,capacity=32K" }, "blk0", "vio blk --blk-file=ram:1M --zoned=size=64K,capacity=32K" },
	{ { K, "--scsi=lun=0:0,,file=cd.iso,,cdrom" }, "scsi0", "vio scsi --lun=0:0,file=cd.iso,cdrom" },
	{ { K, "--scsi=0:0,,file=cd.iso,,cdrom,lun=1:0,,file=b" }, "scsi0", "vio scsi --lun=0:0,file=cd.iso,cdrom --lun=1:0,file=b" },
	{ { K, "--net" }, "net0", "vio net" },
	{ { K, "--net=user,forward=tcp:2222:22,forward=udp:53:53" }, "net0", "vio net --backend=user --forward=tcp:2222:22 --forward=udp:53:53" },
	{ { K, "--net=tap=tap0" }, "net0", "vio net --tap=tap0" },
	{ { K, "--fs=.,tag=here" }, "fs0", "vio fs --shared-dir=. --tag=here" },
	{ { K, "--console" }, "console0", "vio console" },
	{ { K, "--console=stdio" }, "console0", "vio console --port=console,stdio,console" },
	{ { K, "--console=pty" }, "console0", "vio console --port=console,pty,console" },
	{ { K, "--console=socket=/s,,server" }, "console0", "vio console --port=console,socket=/s,server,console" },
	{ { K, "--console=port=log,,file=g.log,rows-first" }, "console0", "vio console --port=log,file=g.log --rows-first" },
	{ { K, "--rng" }, "rng0", "vio rng" },
	{ { K, "--rng=/dev/hwrng,max-bytes=9,period=1" }, "rng0", "vio rng --source=/dev/hwrng --max-bytes=9 --period=1" },
	{ { K, "--balloon" }, "balloon0", "vio balloon" },
	{ { K, "--balloon=64M,deflate-on-oom" }, "balloon0", "vio balloon --target=64M --deflate-on-oom" },
	{ { K, "--input=keyboard" }, "input0", "vio input --kind=keyboard" },
	{ { K, "--input=evdev-path=/dev/input/event3" }, "input0", "vio input --evdev-path=/dev/input/event3" },
	{ { K, "--vsock=3,uds-path=/tmp/g" }, "vsock0", "vio vsock --guest-cid=3 --uds-path=/tmp/g" },
	{ { K, "--isolate", "--blk=a,threads=2" }, "blk0", "vio blk --fd=5 --blk-file=a --threads=2" },
	{ { K, "--isolate", "--rng", "--control=/run/c" }, "rng0", "vio rng --fd=5 --control=/run/c.rng0" },
	{ { K, "--isolate", "--rng", "--sandbox=none" }, "rng0", "vio rng --fd=5 --sandbox=none" },
};

static void spell(const struct run_device *d, char *to, size_t room)
{
	size_t n = 0;
	for (int i = 0; i < d->argc; i++)
		if (*d->argv[i])
			n += (size_t)snprintf(to + n, room - n, "%s%s", n ? " " : "", d->argv[i]);
}

static void becomes(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
		char why[VIO_OPT_WHY] = "", words[512] = "";
		struct run_words w;
		if (parse(&w, taken[i].args, why) && w.devices == 1) {
			if (w.isolate)
				run_device_fd(&w.device[0], 5);
			spell(&w.device[0], words, sizeof words);
		}
		if (strcmp(words, taken[i].daemon) || strcmp(w.device[0].name, taken[i].name)) {
			wrong++;
			print_message("# row %zu: %s%s\n", i, words, why);
		}
		run_words_free(&w);
	}
	assert_int_equal(wrong, 0);
}

static void must(struct run_words *w, const char *const *args)
{
	char why[VIO_OPT_WHY] = "";
	if (!parse(w, args, why))
		fail_msg("%s", why);
}

static void machine(void **state)
{
	struct run_words w;

	(void)state;
	must(&w, (const char *[]){ K, NULL });
	assert_string_equal(w.kernel, "bzImage");
	assert_int_equal(w.memory, 512 << 20);
	assert_int_equal(w.cpus, 1);
	assert_int_equal(w.serial, RUN_SERIAL_STDIO);
	assert_true(!w.mmio && !w.initrd && !w.append && !w.control && !w.paused && !w.no_sandbox && !w.devices);
	run_words_free(&w);
	must(&w, (const char *[]){ "--restore=snap", "--memory=2G", "--cpus=64", "--transport=mmio", "--serial=pty:/tmp/l", "--paused",
		"--control=c", "--tls-psk=k", "--sandbox=none", NULL });
	assert_true(w.mmio && w.paused && w.no_sandbox && w.memory == UINT64_C(2) << 30 && w.cpus == 64);
	assert_string_equal(w.restore, "snap");
	assert_int_equal(w.serial, RUN_SERIAL_PTY);
	assert_string_equal(w.serial_file, "/tmp/l");
	run_words_free(&w);
	must(&w, (const char *[]){ "--incoming=tcp:[::1]:4444", "--serial=file:log", NULL });
	assert_int_equal(w.serial, RUN_SERIAL_FILE);
	assert_string_equal(w.serial_file, "log");
	run_words_free(&w);
	must(&w, (const char *[]){ K, "--console", NULL });
	assert_int_equal(w.serial, RUN_SERIAL_NONE);	/* one standard input */
	run_words_free(&w);
}

/* The order is that of the kinds, whatever the order on the command line, and of one kind as given. */
static void order(void **state)
{
	static const char *const names[] = { "blk0", "blk1", "net0", "fs0", "rng0", "vhost-user0" };
	struct run_words w;

	(void)state;
	must(&w, (const char *[]){ "--vhost-user=fs,socket=/s,tag=t,num-queues=3,queue-size=64", "--rng", K, "--fs=.", "--blk=b", "--net",
		"--blk=a,read-only", "--control=c", NULL });
	assert_int_equal(w.devices, 6);
	for (unsigned i = 0; i < w.devices; i++)
		assert_string_equal(w.device[i].name, names[i]);
	assert_string_equal(w.device[0].argv[3], "--blk-file=b");
	const struct run_device *far = &w.device[5];
	assert_null(far->service);
	assert_string_equal(far->type, "fs");
	assert_string_equal(far->socket, "/s");
	assert_string_equal(far->tag, "t");
	assert_int_equal(far->queues, 3);
	assert_int_equal(far->queue_size, 64);
	for (unsigned i = 0; i < 5; i++)	/* what the machine was told holds for its devices */
		assert_true(w.device[i].args.device[0][VIO_OPT_CONTROL].given && !w.device[i].args.device[0][VIO_OPT_VERBOSE].given);
	run_words_free(&w);
}

static void places(void **state)
{
	const char *args[WORDS] = { K };
	char why[VIO_OPT_WHY];
	struct run_words w;

	(void)state;
	for (unsigned i = 1; i <= 31; i++)
		args[i] = "--rng";
	must(&w, args);
	assert_int_equal(w.devices, 31);
	run_words_free(&w);
	args[32] = "--rng";
	assert_false(parse(&w, args, why));
	assert_string_equal(why, "there are 32 devices, and a machine has 31 places with --transport=pci: leave some out");
	run_words_free(&w);
	args[17] = "--transport=mmio";
	args[18] = NULL;
	must(&w, args);
	run_words_free(&w);
	args[18] = "--rng";
	args[19] = NULL;
	assert_false(parse(&w, args, why));
	assert_string_equal(why, "there are 17 devices, and a machine has 16 places with --transport=mmio: leave some out");
	run_words_free(&w);
}

/* As the control socket's plug makes one. */
static void later(void **state)
{
	char why[VIO_OPT_WHY];
	struct run_words w;
	struct run_device d;

	(void)state;
	must(&w, (const char *[]){ K, "--control=c", NULL });
	assert_true(run_device_make(&d, &w, "blk", "ram:1M,read-only", 4, why));
	assert_string_equal(d.name, "blk4");
	assert_true(d.args.device[0][VIO_OPT_CONTROL].given);
	run_device_free(&d);
	assert_false(run_device_make(&d, &w, "blk", "ram:1M,frob", 4, why));
	assert_string_equal(why, "--blk=ram:1M,frob: there is no option --frob: --help lists those there are");
	run_words_free(&w);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(refused, "bad words are refused, each in its sentence"),
		T(becomes, "a device's words are its daemon's command line"),
		T(machine, "the machine's own words, and what holds without them"),
		T(order, "devices have a fixed order and names of their own"),
		T(places, "there are not more devices than places"),
		T(later, "one device by itself, as it is plugged in later"),
	};
	return vio_tests("run-words", tests, sizeof tests / sizeof *tests);
}
