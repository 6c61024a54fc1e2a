/*
 * Command lines.  A table says which options a program has; parsing, --help and the test of the manual page read it.
 *
 *   --name=value and --name value are the same; flags take no value; nothing may be abbreviated.
 *
 * An option's value may be words of its own (--blk=disk.img,read-only): vio_opt_parts() cuts them.
 *
 * One process may serve several devices.  Options of scope PLACE (--socket-path, --blk-file...) say what a device is: when
 * the device on hand has one of the same slot already, another device begins.  Options of scope DEVICE before the first
 * PLACE option hold for all devices, after it for the device on hand.  Options of scope PROCESS stand anywhere, once.
 */
#ifndef VIO_CMD_OPTIONS_H
#define VIO_CMD_OPTIONS_H
#include <vio/spec/types.h>

enum { VIO_OPT_LIMIT = 64, VIO_OPT_DEVICES = 1024, VIO_OPT_WHY = 512 };

enum vio_opt_kind {
	VIO_OPT_FLAG,
	VIO_OPT_TEXT,		/* min to max printable characters */
	VIO_OPT_NUMBER,		/* decimal, min to max */
	VIO_OPT_POWER,		/* the same, and a power of two */
	VIO_OPT_OCTAL,		/* a file mode, min to max */
	VIO_OPT_CHOICE		/* one of the words in arg, "a|b|c"; the number is its index */
};
enum vio_opt_scope { VIO_OPT_PROCESS, VIO_OPT_DEVICE, VIO_OPT_PLACE };

struct vio_opt {
	const char *name, *arg;		/* arg: how --help calls the value; NULL for flags */
	enum vio_opt_kind kind;
	enum vio_opt_scope scope;
	uint64_t min, max;
	uint64_t preset;		/* number when the option is not given */
	unsigned slot;			/* PLACE: options of one slot exclude each other in a device */
	bool many;			/* may be given several times for one device: each value is one of words */
	bool bare;			/* may stand without a value (--name alone, never --name value): text is "" then */
	const char *help;		/* one sentence */
};

/* A program: its own options follow the common ones. */
struct vio_opt_table {
	const char *usage;		/* "vio blk --socket-path=PATH --blk-file=FILE [options]" */
	const char *about;		/* one sentence */
	const struct vio_opt *common, *own;
	unsigned common_count, own_count;
};

struct vio_opt_word { const char *text; const struct vio_opt_word *next; };
struct vio_arg {
	const char *text;
	uint64_t number;
	bool given;
	const struct vio_opt_word *words;	/* of an option that may be given many times, in their order; text is the last one */
};
struct vio_args {
	struct vio_arg common[VIO_OPT_LIMIT];		/* indexed like the table: common options, then own ones */
	struct vio_arg (*device)[VIO_OPT_LIMIT];	/* what holds for each device */
	unsigned devices;
	struct vio_opt_word *pool;
	unsigned pooled;
};

const struct vio_opt *vio_opt_at(const struct vio_opt_table *t, unsigned i);
/* argv[0] is not looked at.  False: why (VIO_OPT_WHY bytes) has a sentence that names the remedy. */
bool vio_opt_parse(const struct vio_opt_table *t, int argc, char **argv, struct vio_args *a, char *why);
/*
 * The same for what is one device whatever the scopes say: an option of another slot begins none.  a->device[0] has all of it.
 */
bool vio_opt_parse_one(const struct vio_opt_table *t, int argc, char **argv, struct vio_args *a, char *why);
void vio_opt_free(struct vio_args *a);
/* The place of the option of this name (n bytes) in the table, or -1. */
int vio_opt_find(const struct vio_opt_table *t, const char *name, size_t n);
void vio_opt_help(const struct vio_opt_table *t);
/*
 * Cut "0:1,file=a,ro" into parts at its commas (",," is a comma in a value): text is changed, and the parts point into it.
 * value is NULL where there is no "=".  How many, or more than max.
 */
struct vio_opt_part { char *name, *value; };
unsigned vio_opt_parts(char *text, struct vio_opt_part *parts, unsigned max);
/* "512", "64K", "1G" (powers of 1024); false when it is not a size or does not fit. */
bool vio_opt_size(const char *text, uint64_t *bytes);
#endif
