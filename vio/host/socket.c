#include <vio/host/socket.h>
#include <vio/host/why.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 16 };

static bool address(const char *path, struct sockaddr_un *a, char *why)
{
	size_t n = strlen(path);
	if (n >= sizeof a->sun_path)
		return vio_refuse(why, "the socket path %.60s... is %zu bytes long: choose one of at most %zu", path, n,
		    sizeof a->sun_path - 1);
	memset(a, 0, sizeof *a);
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, path, n);
	return true;
}

static int make(bool messages, char *why)
{
	int fd = socket(AF_UNIX, (messages ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	if (fd < 0)
		vio_refuse(why, "cannot make a Unix socket: %s; raise the limit of open files (ulimit -n)", strerror(errno));
	return fd;
}

/* Something is at the path.  True: it was a socket that nobody listens on, and has been removed. */
static bool remove_stale(const struct sockaddr_un *a, char *why)
{
	struct stat st;
	if (lstat(a->sun_path, &st))
		return errno == ENOENT || vio_refuse(why, "cannot look at %s: %s; choose another socket path", a->sun_path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return vio_refuse(why, "%s exists and is not a socket: remove it or choose another socket path", a->sun_path);
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return vio_refuse(why, "cannot make a Unix socket: %s; raise the limit of open files (ulimit -n)", strerror(errno));
	int error = connect(probe, (const struct sockaddr *)a, sizeof *a) ? errno : 0;
	close(probe);
	if (error == EACCES)
		return vio_refuse(why, "%s belongs to somebody else: choose another socket path", a->sun_path);
	if (error != ECONNREFUSED && error != ENOENT)	/* EAGAIN: its backlog is full */
		return vio_refuse(why, "another process listens on %s: stop it or choose another socket path", a->sun_path);
	if (unlink(a->sun_path) && errno != ENOENT)
		return vio_refuse(why, "cannot replace %s, which nobody listens on: %s; remove it or choose another socket path",
		    a->sun_path, strerror(errno));
	return true;
}

/* The file gets its mode from the socket's own, less the umask.  0 or an errno value. */
static int bind_with_mode(int fd, const struct sockaddr_un *a, mode_t mode)
{
	if (fchmod(fd, mode))
		return errno;
	mode_t mask = umask(0);
	int error = bind(fd, (const struct sockaddr *)a, sizeof *a) ? errno : 0;
	umask(mask);
	return error;
}

static bool bind_path(int fd, const struct vio_socket_options *o, char *why)
{
	struct sockaddr_un a;
	if (!address(o->path, &a, why))
		return false;
	int error = bind_with_mode(fd, &a, o->mode);
	if (error == EADDRINUSE) {
		if (!remove_stale(&a, why))
			return false;
		error = bind_with_mode(fd, &a, o->mode);
	}
	if (error)
		return vio_refuse(why, "cannot make the socket %s: %s; choose another socket path", o->path, strerror(error));
	/* Until listen() nobody can connect, so the group comes in time. */
	if (o->has_group && lchown(o->path, (uid_t)-1, o->group)) {
		vio_refuse(why, "cannot give %s to group %u: %s; choose a group of yours or start as root", o->path,
		    (unsigned)o->group, strerror(errno));
		unlink(o->path);
		return false;
	}
	if (listen(fd, BACKLOG)) {
		vio_refuse(why, "cannot listen on %s: %s", o->path, strerror(errno));
		unlink(o->path);
		return false;
	}
	return fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
}

int vio_socket_listen(const struct vio_socket_options *o, char *why)
{
	int fd = make(o->messages, why);
	if (fd >= 0 && !bind_path(fd, o, why)) {
		close(fd);
		return -1;
	}
	return fd;
}

int vio_socket_connect(const char *path, const char *remedy, char *why)
{
	struct sockaddr_un a;
	int fd = address(path, &a, why) ? make(false, why) : -1;
	if (fd < 0)
		return -1;
	if (!connect(fd, (const struct sockaddr *)&a, sizeof a))
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED)
		vio_refuse(why, "nobody listens on %s: %s", path, remedy);
	else
		vio_refuse(why, "cannot connect to %s: %s", path, strerror(errno));
	close(fd);
	return -1;
}

bool vio_socket_inherited(int fd, bool *connected, char *why)
{
	struct sockaddr_storage peer;
	int domain, type, listens;
	if (fcntl(fd, F_GETFD) < 0)
		return vio_refuse(why, "descriptor %d is not open: pass a Unix socket that the parent made", fd);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &(socklen_t){ sizeof domain }) || domain != AF_UNIX
	    || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){ sizeof type }) || type != SOCK_STREAM)
		return vio_refuse(why, "descriptor %d is not a Unix stream socket: pass one that listens or is connected", fd);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &(socklen_t){ sizeof listens }))
		return vio_refuse(why, "cannot ask descriptor %d whether it listens: %s", fd, strerror(errno));
	*connected = !listens && !getpeername(fd, (struct sockaddr *)&peer, &(socklen_t){ sizeof peer });
	if (!listens && !*connected)
		return vio_refuse(why, "descriptor %d is a socket that neither listens nor is connected: call listen() on it first", fd);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) || (listens && fcntl(fd, F_SETFL, O_NONBLOCK)))
		return vio_refuse(why, "cannot set up descriptor %d: %s", fd, strerror(errno));
	return true;
}

bool vio_socket_file(struct vio_socket_file *f, const char *path, int dir_fd, char *why)
{
	struct sockaddr_un a;
	struct stat st;
	f->dir = -1;
	if (!address(path, &a, why))
		return false;
	const char *slash = strrchr(path, '/');
	f->name = slash ? slash + 1 : path;
	if (lstat(path, &st))
		return vio_refuse(why, "the socket %s has gone already: %s", path, strerror(errno));
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	a.sun_path[f->name - path] = 0;		/* the folder, with its slash */
	f->dir = dir_fd >= 0 ? dir_fd : open(slash ? a.sun_path : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return f->dir >= 0 || vio_refuse(why, "cannot open the folder of %s: %s", path, strerror(errno));
}

int vio_socket_remove(const struct vio_socket_file *f)
{
	struct stat st;
	if (f->dir < 0)
		return 0;
	if (fstatat(f->dir, f->name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : errno;
	if (st.st_dev != f->dev || st.st_ino != f->ino)
		return 0;
	return unlinkat(f->dir, f->name, 0) && errno != ENOENT ? errno : 0;
}
