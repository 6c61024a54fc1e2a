/*
 * The command line of `vio run`: a machine's settings and its devices, with all checks done that touch nothing.
 *
 * A device is one option (--blk=disk.img,read-only), whose words are the options of the device's daemon without their dashes;
 * the first word may be the value of the most important one alone.  They become that daemon's command line, and are parsed by
 * its table, so that there is one place where a device's options are explained and judged.
 */
#ifndef VIO_CMD_RUN_WORDS_H
#define VIO_CMD_RUN_WORDS_H
#include "daemon.h"

enum { RUN_NAME = 24, RUN_FD_WORD = 24 };

struct run_device {
	const char *type;		/* "blk" */
	char name[RUN_NAME];		/* "blk0": at the control socket and in messages */
	const struct vio_service *service;	/* NULL: somebody else's back end, over vhost-user */
	struct vio_args args;		/* in process: device[0] is what service->open is given, as long as this lives */
	/*
	 * A process of its own (--isolate): how the daemon is started, as /proc/self/exe; run_device_fd() says which descriptor is
	 * its end of a connected socket.
	 */
	char **argv;
	int argc;
	char fd_word[RUN_FD_WORD];
	/* --vhost-user */
	char *text;			/* what the rest points into */
	const char *socket, *tag;	/* tag: of a file system, whose front end tells it; NULL: not given */
	unsigned queues, queue_size;	/* 0: as the back end has it */
};

enum run_serial_end { RUN_SERIAL_STDIO, RUN_SERIAL_NONE, RUN_SERIAL_PTY, RUN_SERIAL_FILE };

struct run_words {
	struct vio_args args;		/* what the texts point into, with argv */
	const char *kernel, *initrd, *append;	/* NULL: not given */
	uint64_t memory;		/* bytes */
	unsigned cpus;
	bool mmio, isolate, paused, no_sandbox, verbose, help, version;
	const char *control;		/* NULL: none */
	enum run_serial_end serial;
	const char *serial_file;	/* RUN_SERIAL_FILE: its name; RUN_SERIAL_PTY: a link to make, or NULL */
	const char *restore, *incoming;	/* one of them at most */
	const char *tls_psk, *tls_cert;	/* the same */
	struct run_device *device;	/* in the order of docs/machine.md, which is that of their slots */
	unsigned devices;
};

extern const struct vio_opt_table run_table;

/* argv[0] is not looked at.  False: why (VIO_OPT_WHY bytes) has a sentence that names the remedy; free all the same. */
bool run_words_parse(struct run_words *w, int argc, char **argv, char *why);
void run_words_free(struct run_words *w);

/* How many devices a machine of these words can have. */
unsigned run_words_slots(const struct run_words *w);

/*
 * One device, as for a machine that runs already: type "blk", words as behind --blk=, number: how many of that type have been
 * named.  False: why has a sentence, and d holds nothing.
 */
bool run_device_make(struct run_device *d, const struct run_words *w, const char *type, const char *words, unsigned number, char *why);
void run_device_fd(struct run_device *d, int fd);
void run_device_move(struct run_device *to, struct run_device *from);	/* from holds nothing afterwards */
void run_device_free(struct run_device *d);
/* Does it take standard input? */
bool run_device_takes_stdio(const struct run_device *d);
#endif
