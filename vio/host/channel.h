/*
 * A way for bytes: a file, a socket, a socket with TLS.  Snapshots and migrations go over one.
 *
 * Everything here waits, with a deadline for each call, and is used in a thread that may: never in an event loop that others need.
 * One thread at a time, but for shut.  Nothing that comes is trusted; with TLS (1.3) both ends have proved who they are before the
 * first byte passes.
 */
#ifndef VIO_HOST_CHANNEL_H
#define VIO_HOST_CHANNEL_H
#include <sys/types.h>
#include <vio/host/why.h>

VIO_BEGIN_DECLS

struct vio_channel;
struct vio_channel_ops {
	ssize_t (*read)(struct vio_channel *c, void *to, size_t n);	/* 1 to n bytes; 0: the end; or a negative errno value */
	ssize_t (*write)(struct vio_channel *c, const void *from, size_t n);	/* 1 to n bytes, or a negative errno value */
	void (*shut)(struct vio_channel *c);	/* from any thread: whoever waits in it gets -ECANCELED or the end */
	void (*close)(struct vio_channel *c);
};
struct vio_channel {
	const struct vio_channel_ops *ops;
	char why[VIO_WHY];		/* of a failure that errno does not tell, such as TLS's; "" otherwise */
};

/* Who we are, and whom we believe.  Both NULL: no TLS. */
struct vio_tls {
	const char *psk;		/* a file with lines "name:hexadecimal key", as psktool(1) writes it; who calls is the first */
	const char *certificates;	/* a folder: ca-cert.pem, and cert.pem, key.pem of this end */
	struct vio_tls_keys *keys;	/* vio_tls_load()'s; NULL: what is needed is loaded for each connection */
};
/*
 * Load GnuTLS and read the keys now: a process that confines itself can do neither later.  True, and t->keys is NULL, where there is
 * no TLS.  False: why.
 */
bool vio_tls_load(struct vio_tls *t, char *why);
void vio_tls_unload(struct vio_tls *t);		/* no channel uses them */

enum { VIO_CHANNEL_PATIENCE = 20000 };	/* ms that a read or write may take without a byte passing */

/* A file, or a pipe.  fd is the channel's.  NULL: no memory or descriptors (fd is closed). */
struct vio_channel *vio_channel_file(int fd);
/*
 * address: "tcp:HOST:PORT" (HOST may be [an IPv6 address]) or "unix:PATH".  NULL: why has a sentence.  With certificates the other
 * end's must be for HOST.
 */
struct vio_channel *vio_channel_connect(const char *address, const struct vio_tls *tls, char *why);
/* A connected stream socket that somebody else has made.  fd is the channel's.  server: the other end has called. */
struct vio_channel *vio_channel_socket(int fd, bool server, const struct vio_tls *tls, char *why);
/*
 * A listening socket, or -1; the next to connect to it becomes a channel.  NULL: whoever called was not one to talk to, and the
 * listener is as good as before; or somebody shut it down (shutdown(2), from any thread), and why is "".
 */
int vio_channel_listen(const char *address, char *why);
struct vio_channel *vio_channel_accept(int listener, const struct vio_tls *tls, char *why);

static inline void vio_channel_close(struct vio_channel *c) { if (c) c->ops->close(c); }
VIO_END_DECLS
#endif
