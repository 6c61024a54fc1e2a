/* Streams into files, and through named pipes. */
#include <vio/host/stream_impl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct vio_stream *begin(struct vio_stream_host *h, int in, int out, const char *where, char *why)
{
	snprintf(h->where, sizeof h->where, "%s", where);
	h->one_way = true;
	if (vio_stream_host_use(h, in, out, why))
		return &h->stream;
	vio_stream_host_free(h);
	return NULL;
}

struct vio_stream *vio_stream_file(struct vio_loop *l, const char *path, char *why)
{
	struct stat st;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0600);

	if (fd < 0 || fstat(fd, &st)) {
		vio_refuse(why, "cannot write to %s: %s; choose a file that this user may write", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
		vio_refuse(why, "%s is not a file: for a pipe give pipe=PATH, for a socket socket=PATH", path);
	} else {
		struct vio_stream_host *h = vio_stream_host_new(sizeof *h, l, why);
		if (h) {
			h->lasting = true;
			return begin(h, -1, fd, path, why);
		}
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* Open for both directions, so that a pipe does not end with who is at its other end: the next one may come. */
static int open_pipe(const char *path, const char *suffix, char *why)
{
	struct stat st;
	char *name;
	int fd = -1;

	if (asprintf(&name, "%s.%s", path, suffix) < 0) {
		vio_refuse(why, "there is no memory left for another port");
		return -1;
	}
	if (mkfifo(name, 0600) && errno != EEXIST)
		vio_refuse(why, "cannot make the pipe %s: %s; choose a folder that this user may write", name, strerror(errno));
	else if (stat(name, &st) || !S_ISFIFO(st.st_mode))
		vio_refuse(why, "%s is not a pipe: remove it, or choose another path", name);
	else if ((fd = open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0)
		vio_refuse(why, "cannot open the pipe %s: %s; choose one that this user may read and write", name, strerror(errno));
	free(name);
	return fd;
}

struct vio_stream *vio_stream_pipe(struct vio_loop *l, const char *path, char *why)
{
	int in = open_pipe(path, "in", why), out = in < 0 ? -1 : open_pipe(path, "out", why);
	struct vio_stream_host *h = out < 0 ? NULL : vio_stream_host_new(sizeof *h, l, why);

	if (h)
		return begin(h, in, out, path, why);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return NULL;
}
