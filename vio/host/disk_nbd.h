/*
 * The network disk's parts among themselves; not for others.
 *
 *   disk_nbd.c           the disk: open, channels, what confinement must leave it
 *   disk_nbd_conn.c      a connection: made, watched, lost, made again
 *   disk_nbd_io.c        requests as commands of the protocol
 *   disk_nbd_log.c       rings of buffers; the one for writes keeps them until a flush has covered them
 *   disk_nbd_library.c   libnbd, loaded when the first such disk is opened
 *
 * A loop has a connection of its own, and nothing is shared between connections: no lock.
 */
#ifndef VIO_HOST_DISK_NBD_H
#define VIO_HOST_DISK_NBD_H
#include <libnbd.h>
#include <sys/socket.h>
#include <vio/host/disk.h>

/* ---- libnbd ---- */

#define VIO_NBD_FUNCTIONS(X) \
	X(create) X(close) X(get_error) X(get_errno) X(set_export_name) X(get_export_name) X(set_uri_allow_local_file) \
	X(set_pread_initialize) X(set_tls) X(get_tls_negotiated) X(aio_connect) X(aio_connect_uri) X(aio_get_fd) \
	X(aio_get_direction) X(aio_notify_read) X(aio_notify_write) X(aio_is_connecting) X(aio_is_ready) X(aio_is_dead) \
	X(aio_is_closed) X(aio_pread) X(aio_pwrite) X(aio_flush) X(aio_trim) X(aio_zero) X(get_size) X(get_block_size) \
	X(is_read_only) X(can_flush) X(can_fua) X(can_trim) X(can_zero) X(can_fast_zero) X(can_multi_conn) X(poll)

struct vio_nbd_library {
#define VIO_NBD_POINTER(name) __typeof__(nbd_##name) *name;
	VIO_NBD_FUNCTIONS(VIO_NBD_POINTER)
#undef VIO_NBD_POINTER
};
/* NULL: why has a sentence. */
const struct vio_nbd_library *vio_nbd_library(char *why);

/* ---- Rings of buffers ---- */

enum vio_nbd_use { VIO_NBD_FREE, VIO_NBD_IN_FLIGHT, VIO_NBD_ACKED };

struct vio_nbd_buffer {
	uint32_t room;			/* with this head, to the next buffer */
	uint8_t use;			/* enum vio_nbd_use */
	bool zero;			/* no bytes: this range is to be zeroes, */
	uint32_t flags;			/* by a command with these */
	uint64_t offset, length;	/* on the disk */
	uint64_t acked;			/* the how many-eth acknowledged write of this connection */
	unsigned char *bytes;
};

struct vio_nbd_ring {
	unsigned char *base;		/* touched where it is used */
	size_t size, head, tail, used, most;
};
bool vio_nbd_ring_init(struct vio_nbd_ring *r, size_t size);
void vio_nbd_ring_free(struct vio_nbd_ring *r);
/* A buffer behind all others; NULL: there is no room until others are let go. */
struct vio_nbd_buffer *vio_nbd_ring_take(struct vio_nbd_ring *r, size_t bytes);
void vio_nbd_ring_release(struct vio_nbd_ring *r, struct vio_nbd_buffer *b);
/* Lets go what has been acknowledged up to that number, from the oldest on. */
void vio_nbd_ring_covered(struct vio_nbd_ring *r, uint64_t acked);
/* The oldest, and the one after b; NULL: no more. */
struct vio_nbd_buffer *vio_nbd_ring_first(const struct vio_nbd_ring *r);
struct vio_nbd_buffer *vio_nbd_ring_next(const struct vio_nbd_ring *r, const struct vio_nbd_buffer *b);

/* ---- Commands ---- */

enum vio_nbd_kind { VIO_NBD_READ, VIO_NBD_WRITE, VIO_NBD_ZERO, VIO_NBD_TRIM, VIO_NBD_FLUSH };

enum {
	VIO_NBD_COMMANDS = 256,		/* of requests, at once; others wait */
	VIO_NBD_REPLAYS = 32
};
struct vio_nbd_conn;

struct vio_nbd_command {
	struct vio_nbd_conn *conn;
	enum vio_nbd_kind kind;
	struct vio_disk_io *io;		/* NULL: our own */
	struct vio_nbd_buffer *buffer;	/* of READ, WRITE and ZERO */
	uint64_t offset, length;
	uint64_t mark;			/* FLUSH: what was acknowledged when it was sent */
	uint32_t flags;
	int error;
	bool busy, sent;
	struct vio_nbd_command *ended;	/* the next that has ended */
	struct vio_nbd_command *before, *after;	/* by age; after is also the list of free ones */
};

enum vio_nbd_state {
	VIO_NBD_LOST,			/* a timer will try again, if anybody uses it */
	VIO_NBD_CONNECTING,
	VIO_NBD_REPLAYING,		/* what the old server may have lost goes first */
	VIO_NBD_UP
};

struct vio_nbd;

struct vio_nbd_conn {
	struct vio_disk_chan chan;	/* of all queues of this loop */
	struct vio_nbd *disk;
	struct vio_loop *loop;
	unsigned users;			/* open channels: without any, nothing is watched */
	enum vio_nbd_state state;
	struct nbd_handle *h;		/* NULL when lost */
	struct vio_watch watch;
	struct vio_timer timer;		/* LOST: try again; CONNECTING: it takes too long */
	uint64_t pause_ns;
	bool told;			/* that the server is lost */
	bool serving, again;
	bool drop;			/* the server says that it goes */

	struct vio_disk_io *waiting, **waiting_end;
	struct vio_nbd_command command[VIO_NBD_COMMANDS], *idle;
	struct vio_nbd_command *oldest, *newest;	/* in use */
	struct vio_nbd_command *ended, **ended_end;
	struct vio_nbd_command own_flush, replay[VIO_NBD_REPLAYS];
	struct vio_nbd_buffer *replay_at;
	unsigned replays;		/* sent */

	struct vio_nbd_ring reads, writes;
	uint64_t acked;			/* writes, since the start */
	int flush_error;		/* a flush has failed: no later one can promise anything */
};

struct vio_nbd {
	struct vio_disk disk;
	const struct vio_nbd_library *lib;
	char *uri, *export;
	bool tls;
	bool can_flush, can_fua, can_trim, can_zero, can_fast_zero;
	bool fua_always;		/* several connections: nothing is ever acknowledged that could be lost */
	uint64_t piece;			/* bytes of a read or write command */
	struct sockaddr_storage peer;	/* TCP: where the name led to; there is no asking again once confined */
	socklen_t peer_len;		/* 0: the URI is enough */
	void (*news)(void *arg, bool back, const char *why);
	void *news_arg;
	unsigned conns;
	struct vio_nbd_conn *conn[];
};

/* Are acknowledged writes kept until a flush? */
static inline bool vio_nbd_keeps(const struct vio_nbd_conn *c)
{
	return c->disk->can_flush && !c->disk->fua_always && !c->flush_error;
}

/* ---- disk_nbd_conn.c ---- */

/* A handle that is about to connect; NULL: why has libnbd's words. */
struct nbd_handle *vio_nbd_begin(const struct vio_nbd *d, char *why);
void vio_nbd_conn_use(struct vio_nbd_conn *c);		/* one channel more, or less; in its loop */
void vio_nbd_conn_leave(struct vio_nbd_conn *c);
/* Does all there is to do, then waits for the server. */
void vio_nbd_serve(struct vio_nbd_conn *c);
bool vio_nbd_is_gone(const struct vio_nbd_conn *c);
bool vio_nbd_conn_init(struct vio_nbd_conn *c);		/* false: no memory */
bool vio_nbd_same_export(const struct vio_nbd *d, struct nbd_handle *h, char *why);

/* ---- disk_nbd_io.c ---- */

extern const struct vio_disk_chan_ops vio_nbd_chan_ops;
void vio_nbd_commands_init(struct vio_nbd_conn *c);
void vio_nbd_pump(struct vio_nbd_conn *c);		/* UP: what waits is sent, as far as there is room */
void vio_nbd_collect(struct vio_nbd_conn *c);		/* what has ended */
void vio_nbd_forget(struct vio_nbd_conn *c);		/* the handle is closed: nothing is sent any more */
void vio_nbd_replay_begin(struct vio_nbd_conn *c);
bool vio_nbd_replay(struct vio_nbd_conn *c);		/* REPLAYING.  True: all of it has been acknowledged */
void vio_nbd_resend(struct vio_nbd_conn *c);		/* what was in flight when the server was lost */
#endif
