/* Unix sockets of a daemon: one it listens on, one it was handed, one it connects to. */
#ifndef VIO_HOST_SOCKET_H
#define VIO_HOST_SOCKET_H
#include <vio/spec/types.h>
#include <sys/types.h>
VIO_BEGIN_DECLS

struct vio_socket_options {
	const char *path;
	mode_t mode;			/* of the socket file: who may connect needs write permission */
	bool has_group;
	gid_t group;
	bool messages;			/* SOCK_SEQPACKET instead of SOCK_STREAM */
};

/*
 * A listening socket, non-blocking, with mode and group right before anybody can connect.  A socket file that nobody
 * listens on is replaced, one that somebody listens on is refused.  -1: why (512 bytes) has a sentence.
 */
int vio_socket_listen(const struct vio_socket_options *o, char *why);
/* Connect to who listens at path.  -1: why has a sentence, which ends with the remedy when nobody does. */
int vio_socket_connect(const char *path, const char *remedy, char *why);
/* Is fd, which was inherited, a Unix stream socket?  *connected: it has a peer, otherwise it listens. */
bool vio_socket_inherited(int fd, bool *connected, char *why);

/* What is needed to remove a socket file later, by a process that may not open anything any more. */
struct vio_socket_file {
	int dir;			/* O_PATH; -1: nothing to remove.  May be shared by several files */
	const char *name;		/* in dir; points into path */
	uint64_t dev, ino;		/* so that nobody else's is removed */
};
/* path must outlive f.  dir is opened unless dir_fd, a descriptor of the same directory, is given (otherwise -1). */
bool vio_socket_file(struct vio_socket_file *f, const char *path, int dir_fd, char *why);
/* 0, also when it is not there any more or is another one by now; or an errno value. */
int vio_socket_remove(const struct vio_socket_file *f);
VIO_END_DECLS
#endif
