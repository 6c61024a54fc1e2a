/* Command lines: what is refused, in which words, and that nothing has been touched then. */
#include "program.h"

#define S "--socket-path=d.sock"
#define F "--blk-file=null:1M"

static const struct refusal {
	const char *args[8];
	const char *sentence;
} refusals[] = {
	/* names */
	{ { "blk", "--blkfile=x" }, "vio-blk: there is no option --blkfile: did you mean --blk-file?" },
	{ { "blk", "--socket=x" }, "vio-blk: there is no option --socket: --help lists those there are" },
	{ { "blk", "--frobnicate-everything" }, "vio-blk: there is no option --frobnicate-everything: --help lists those there are" },
	{ { "blk", "-h" }, "vio-blk: \"-h\" is not an option: options begin with --, and --help lists them" },
	{ { "blk", "disk.img" }, "vio-blk: \"disk.img\" is not an option: options begin with --, and --help lists them" },
	{ { "blk", "--" }, "vio-blk: \"--\" is not an option: options begin with --, and --help lists them" },
	{ { "blk", "--=x" }, "vio-blk: there is no option --: --help lists those there are" },
	{ { "rng", S, "--blk-file=x" }, "vio-rng: there is no option --blk-file: --help lists those there are" },
	{ { "disk" }, "vio: there is no command \"disk\": vio --help lists those there are" },
	/* values */
	{ { "blk", S, F, "--serial" }, "vio-blk: --serial needs a value: write --serial=TEXT" },
	{ { "blk", "--serial", S, F }, "vio-blk: --serial needs a value: write --serial=TEXT" },
	{ { "blk", S, F, "--serial=" }, "vio-blk: --serial has an empty value: give --serial=TEXT" },
	{ { "blk", S, F, "--serial=123456789012345678901" }, "vio-blk: --serial is 21 characters long: give 1 to 20" },
	{ { "blk", S, F, "--serial=a\tb" }, "vio-blk: --serial has characters that are not printable ASCII: leave them out" },
	{ { "blk", S, F, "--read-only=yes" }, "vio-blk: --read-only takes no value: write --read-only alone" },
	{ { "blk", S, F, "--read-only", "--read-only" }, "vio-blk: --read-only is given twice for one device: keep one" },
	{ { "blk", "--read-only", "--read-only", S, F }, "vio-blk: --read-only is given twice: keep one" },
	{ { "blk", S, F, "--num-queues=0" }, "vio-blk: --num-queues=0 cannot be: give a number from 1 to 64" },
	{ { "blk", S, F, "--num-queues=65" }, "vio-blk: --num-queues=65 cannot be: give a number from 1 to 64" },
	{ { "blk", S, F, "--num-queues=+1" }, "vio-blk: --num-queues=+1 cannot be: give a number from 1 to 64" },
	{ { "blk", S, F, "--num-queues=1x" }, "vio-blk: --num-queues=1x cannot be: give a number from 1 to 64" },
	{ { "blk", S, F, "--num-queues= 1" }, "vio-blk: --num-queues= 1 cannot be: give a number from 1 to 64" },
	{ { "blk", S, F, "--num-queues=18446744073709551617" },
		"vio-blk: --num-queues=18446744073709551617 cannot be: give a number from 1 to 64" },
	{ { "blk", S, F, "--queue-size=100" }, "vio-blk: --queue-size=100 cannot be: give a power of two from 4 to 32768" },
	{ { "blk", S, F, "--queue-size=65536" }, "vio-blk: --queue-size=65536 cannot be: give a power of two from 4 to 32768" },
	{ { "blk", S, F, "--logical-block-size=513" },
		"vio-blk: --logical-block-size=513 cannot be: give a power of two from 512 to 65536" },
	{ { "blk", S, F, "--cache=writethrough" }, "vio-blk: --cache=writethrough cannot be: give writeback or none" },
	{ { "blk", S, F, "--aio=native" }, "vio-blk: --aio=native cannot be: give auto, io_uring or threads" },
	{ { "blk", S, F, "--aio=io_uring|threads" }, "vio-blk: --aio=io_uring|threads cannot be: give auto, io_uring or threads" },
	{ { "blk", S, F, "--sandbox=off" }, "vio-blk: --sandbox=off cannot be: give on or none" },
	{ { "blk", S, F, "--socket-mode=0680" }, "vio-blk: --socket-mode=0680 cannot be: give an octal number from 0 to 777" },
	{ { "blk", S, F, "--socket-mode=1777" }, "vio-blk: --socket-mode=1777 cannot be: give an octal number from 0 to 777" },
	{ { "blk", S, F, "--stop-deadline=0" }, "vio-blk: --stop-deadline=0 cannot be: give a number from 1 to 86400" },
	{ { "blk", S, F, "--poll-us=-1" }, "vio-blk: --poll-us=-1 cannot be: give a number from 0 to 1000000" },
	{ { "blk", S, F, "--threads=0" }, "vio-blk: --threads=0 cannot be: give a number from 1 to 64" },
	{ { "blk", "--fd=2", F }, "vio-blk: --fd=2 cannot be: give a number from 3 to 1048576" },
	{ { "blk", "--fd=three", F }, "vio-blk: --fd=three cannot be: give a number from 3 to 1048576" },
	/* what belongs together */
	{ { "blk" }, "vio-blk: it is not said where the front end connects: add --socket-path=PATH or --fd=N" },
	{ { "blk", F }, "vio-blk: it is not said where the front end connects: add --socket-path=PATH or --fd=N" },
	{ { "blk", S }, "vio-blk: it is not said which image to serve: add --blk-file=FILE" },
	{ { "blk", S, F, "--blk-file=null:2M" },
		"vio-blk: it is not said where the front end connects: add --socket-path=PATH or --fd=N" },
	{ { "blk", S, F, S, F }, "vio-blk: two devices have the same --socket-path or --fd: give each its own" },
	{ { "blk", "--fd=9", F, "--fd=9", F }, "vio-blk: two devices have the same --socket-path or --fd: give each its own" },
	{ { "blk", "--fd=9", F, "--connect" },
		"vio-blk: --connect needs --socket-path: a descriptor shows by itself whether it is connected" },
	{ { "blk", S, F, "--connect", "--socket-mode=600" },
		"vio-blk: --socket-group and --socket-mode are for a socket that is made here: leave them out" },
	{ { "blk", "--fd=9", F, "--socket-group=0" },
		"vio-blk: --socket-group and --socket-mode are for a socket that is made here: leave them out" },
	{ { "blk", S, "--blk-file=null:" }, "vio-blk: --blk-file=null: cannot be: give a size of whole 512-byte blocks, like null:64M" },
	{ { "blk", S, "--blk-file=ram:0" }, "vio-blk: --blk-file=ram:0 cannot be: give a size of whole 512-byte blocks, like ram:64M" },
	{ { "blk", S, "--blk-file=ram:1000" },
		"vio-blk: --blk-file=ram:1000 cannot be: give a size of whole 512-byte blocks, like ram:64M" },
	{ { "blk", S, "--blk-file=ram:512", "--logical-block-size=4096" },
		"vio-blk: --blk-file=ram:512 cannot be: give a size of whole 4096-byte blocks, like ram:64M" },
	{ { "blk", S, "--blk-file=null:99999999999T" },
		"vio-blk: --blk-file=null:99999999999T cannot be: give a size of whole 512-byte blocks, like null:64M" },
	{ { "blk", S, "--blk-file=null:16777216T" },
		"vio-blk: --blk-file=null:16777216T cannot be: give a size of whole 512-byte blocks, like null:64M" },
	{ { "blk", S, F, "--cache=none" }, "vio-blk: cache and aio are for files: leave them out with --blk-file=null:1M" },
	{ { "rng", S, "--max-bytes=10" }, "vio-rng: a rate has two parts: give --max-bytes and --period together, or neither" },
	{ { "rng", S, "--period=10" }, "vio-rng: a rate has two parts: give --max-bytes and --period together, or neither" },
	{ { "rng", S, "--max-bytes=0", "--period=1" },
		"vio-rng: --max-bytes=0 cannot be: give a number from 1 to 9223372036854775807" },
	/* units of a SCSI host */
	{ { "scsi", S }, "vio-scsi: it is not said what to serve: add --lun=0:0,file=FILE, or --control=PATH to add units later" },
	{ { "scsi", S, "--lun=file=x" },
		"vio-scsi: --lun begins with which unit it is: give --lun=TARGET:LUN,file=FILE, such as --lun=0:0,file=disk.img" },
	{ { "scsi", S, "--lun=256:0,file=x" },
		"vio-scsi: \"256:0\" is no unit: give TARGET:LUN, such as 0:1, with a target of at most 255 and a LUN of at most 16383" },
	{ { "scsi", S, "--lun=0:16384,file=x" },
		"vio-scsi: \"0:16384\" is no unit: give TARGET:LUN, such as 0:1, with a target of at most 255 and a LUN of at most 16383" },
	{ { "scsi", S, "--lun=0" },
		"vio-scsi: \"0\" is no unit: give TARGET:LUN, such as 0:1, with a target of at most 255 and a LUN of at most 16383" },
	{ { "scsi", S, "--lun=0:0" }, "vio-scsi: --lun=0:0 does not say which image it is: add file=FILE (only a CD-ROM drive may be empty)" },
	{ { "scsi", S, "--lun=0:0,file=null:1M", "--lun=0:0,file=null:1M" }, "vio-scsi: two units are 0:0: give each its own TARGET:LUN" },
	{ { "scsi", S, "--lun=0:0,file=null:1M,file=null:1M" }, "vio-scsi: --lun=0:0: file is given twice: keep one" },
	{ { "scsi", S, "--lun=0:0,file=null:1M,ro=yes" }, "vio-scsi: --lun=0:0: ro takes no value: write ro alone" },
	{ { "scsi", S, "--lun=0:0,file=null:1M,serial" },
		"vio-scsi: --lun=0:0: serial needs a value: write serial=TEXT of at most 36 characters" },
	{ { "scsi", S, "--lun=0:0,file=null:1M,vendor=123456789" },
		"vio-scsi: --lun=0:0: vendor=123456789 cannot be: give TEXT of at most 8 characters" },
	{ { "scsi", S, "--lun=0:0,file=null:1M,wwn=9000000000000000" },
		"vio-scsi: --lun=0:0: wwn=9000000000000000 cannot be: give 16 hexadecimal digits, of which the first is 2, 3 or 5" },
	{ { "scsi", S, "--lun=0:0,file=null:1M,block=8192" }, "vio-scsi: --lun=0:0: block=8192 cannot be: give 512, 1024, 2048 or 4096" },
	{ { "scsi", S, "--lun=0:0,file=null:1M,rotational=1" }, "vio-scsi: --lun=0:0: rotational=1 cannot be: give RPM, 2 to 65534" },
	{ { "scsi", S, "--lun=0:0,file=null:1M,cache=none" },
		"vio-scsi: cache and aio are for files: leave them out with file=null:1M" },
	{ { "scsi", S, "--lun=0:0,file=ram:1M,reservations" },
		"vio-scsi: --lun=0:0: there is no image that reservations could lie beside: give reservations=FILE" },
	{ { "scsi", S, "--lun=0:0,cdrom,block=512" },
		"vio-scsi: --lun=0:0: a CD-ROM drive has none of block, rotational, thin, protect and cache=writethrough: leave them out" },
	{ { "scsi", S, "--lun=0:0,file=null:1M,frob" },
		"vio-scsi: --lun=0:0: there is no \"frob\": there may be file, ro, cdrom, removable, rotational, serial, vendor, product, revision, "
		"wwn, block, cache, aio, thin, protect, shared and reservations" },
};

static void refused(void **state)
{
	(void)state;
	char folder[] = "/tmp/vio-options-XXXXXX";
	unsigned wrong = 0;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		static struct program p;
		char expected[512];
		p = (struct program){ .path = NULL };
		memcpy(p.args, refusals[i].args, sizeof refusals[i].args);
		program_run(&p);
		snprintf(expected, sizeof expected, "%s\n", refusals[i].sentence);
		if (p.status == 2 && !strcmp(p.said, expected))
			continue;
		wrong++;
		print_message("# row %zu: status %d, said: %s", i, p.status, p.said);
	}
	assert_int_equal(wrong, 0);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(folder), 0);	/* it is empty */
}

static void says(const char *path, const char *arg1, const char *arg2, const char *words)
{
	struct program p = { .path = path, .args = { arg1, arg2 } };
	program_run(&p);
	assert_int_equal(p.status, 0);
	if (!strstr(p.said, words))
		fail_msg("%s %s said: %s", arg1 ? arg1 : "", arg2 ? arg2 : "", p.said);
}

static void help(void **state)
{
	(void)state;
	says(NULL, NULL, NULL, "vio blk ");
	says(NULL, "--help", NULL, "vio rng ");
	says(NULL, "--version", NULL, "vio 0.1.0\n");
	says(NULL, "blk", "--help", "--logical-block-size=N");
	says(NULL, "rng", "--help", "--max-bytes=N");
	says(NULL, "blk", "--version", "vio-blk 0.1.0\n");
}

static void capabilities(void **state)
{
	(void)state;
	struct program blk = { .args = { "blk", "--print-capabilities" } }, rng = { .args = { "rng", "--print-capabilities" } };
	program_run(&blk);
	assert_int_equal(blk.status, 0);
	assert_string_equal(blk.said, "{\"type\": \"block\", \"features\": [\"read-only\", \"blk-file\"]}\n");
	program_run(&rng);
	assert_int_equal(rng.status, 0);
	assert_string_equal(rng.said, "{\"type\": \"rng\"}\n");
}

static void link_names(void **state)
{
	(void)state;
	char folder[] = "/tmp/vio-links-XXXXXX", blk[64], rng[64], other[64];
	assert_non_null(mkdtemp(folder));
	snprintf(blk, sizeof blk, "%s/vio-blk", folder);
	snprintf(rng, sizeof rng, "%s/vio-rng", folder);
	snprintf(other, sizeof other, "%s/vio-else", folder);
	assert_int_equal(symlink(VIO_PROGRAM, blk) | symlink(VIO_PROGRAM, rng) | symlink(VIO_PROGRAM, other), 0);
	says(blk, "--print-capabilities", NULL, "\"block\"");
	says(rng, "--print-capabilities", NULL, "\"rng\"");
	says(other, "blk", "--print-capabilities", "\"block\"");
	struct program p = { .path = blk, .args = { "--fd", "3", "--blk-file", "null:1M", "--oops" } };
	program_run(&p);
	assert_int_equal(p.status, 2);
	assert_string_equal(p.said, "vio-blk: there is no option --oops: --help lists those there are\n");
	unlink(blk);
	unlink(rng);
	unlink(other);
	rmdir(folder);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(refused, "a wrong command line is refused in a sentence that names the remedy, with status 2, before anything is touched"),
		T(help, "vio alone and --help print help, --version the version"),
		T(capabilities, "--print-capabilities prints the JSON of QEMU's vhost-user conventions"),
		T(link_names, "the program answers to vio-blk and vio-rng"),
	};
	return vio_tests("options", tests, sizeof tests / sizeof *tests);
}
