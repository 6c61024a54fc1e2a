/* A line over a connected socket, Unix or AF_VSOCK: what dial_unix.c and dial_vsock.c share. */
#ifndef VIO_HOST_DIAL_SOCKET_H
#define VIO_HOST_DIAL_SOCKET_H
#include <vio/host/dial.h>
VIO_BEGIN_DECLS

struct vio_socket_line {
	struct vio_line line;
	struct vio_loop *loop;
	struct vio_watch watch;
	struct vio_task again;		/* an event that the socket will not give any more */
	bool connecting;		/* connect() is under way */
	bool marks;			/* MSG_EOR means something there */
	bool credentials;		/* each message comes with some: an empty one differs from the end */
	bool ended;			/* the other side has said that nothing more comes */
	/* Its dial's. */
	struct vio_socket_line *prev, *next;
	uint32_t port;
	void (*answer)(struct vio_socket_line *s, uint32_t port);
	void (*closed)(struct vio_socket_line *s);	/* the descriptor is about to be closed; both may be NULL */
	void *dial;
};

/* SOCK_STREAM or SOCK_SEQPACKET, without blocking and inherited by nobody; -1 with errno. */
int vio_dial_socket(int family, bool message, uint32_t message_max);
/* A line over fd, which it owns from now on; NULL: no memory or descriptors, and fd is still the caller's. */
struct vio_socket_line *vio_socket_line_new(struct vio_loop *loop, int fd, bool message);
/* From now on its events are wanted.  False with errno. */
bool vio_socket_line_watch(struct vio_socket_line *s);
/* READ and WRITE as soon as the loop is back. */
void vio_socket_line_soon(struct vio_socket_line *s);
VIO_END_DECLS
#endif
