/*
 * A way for bytes: a file, a socket, a socket with TLS.  Snapshots and migrations go over one.
 *
 * Everything here waits, with a deadline for each call, and is used in a thread that may: never in an event loop that others need.
 * Nothing that comes is trusted; with TLS both ends have proved who they are before the first byte passes.
 */
#ifndef VMM_CHANNEL_H
#define VMM_CHANNEL_H
#include <sys/types.h>
#include <vio/host/why.h>

struct vmm_channel;
struct vmm_channel_ops {
	ssize_t (*read)(struct vmm_channel *c, void *to, size_t n);	/* 1 to n bytes; 0: the end; or a negative errno value */
	ssize_t (*write)(struct vmm_channel *c, const void *from, size_t n);	/* 1 to n bytes, or a negative errno value */
	void (*shut)(struct vmm_channel *c);	/* from any thread: whoever waits in it gets -ECANCELED or the end */
	void (*close)(struct vmm_channel *c);
};
struct vmm_channel {
	const struct vmm_channel_ops *ops;
	char why[VIO_WHY];		/* of a failure that errno does not tell, such as TLS's; "" otherwise */
};

/* Who we are, and whom we believe.  Both NULL: no TLS. */
struct vmm_tls {
	const char *psk;		/* a file with lines "name:hexadecimal key", as psktool(1) writes it */
	const char *certificates;	/* a folder: ca-cert.pem, and cert.pem, key.pem of this end */
};

enum { VMM_CHANNEL_PATIENCE = 20000 };	/* ms that a read or write may take without a byte passing */

/* fd is the channel's.  NULL: no memory (fd is closed). */
struct vmm_channel *vmm_channel_file(int fd);
/* address: "tcp:HOST:PORT" or "unix:PATH".  NULL: why has a sentence. */
struct vmm_channel *vmm_channel_connect(const char *address, const struct vmm_tls *tls, char *why);
/* A listening socket, or -1; the next to connect to it (one is enough) becomes a channel. */
int vmm_channel_listen(const char *address, char *why);
struct vmm_channel *vmm_channel_accept(int listener, const struct vmm_tls *tls, char *why);

static inline void vmm_channel_close(struct vmm_channel *c) { if (c) c->ops->close(c); }
#endif
