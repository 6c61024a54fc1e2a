/* Descriptors as channels: waiting with a deadline, being woken, and files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <vio/host/channel_impl.h>

struct vio_way *vio_way_open(int fd, const struct vio_channel_ops *ops)
{
	struct vio_way *w = calloc(1, sizeof *w);
	struct stat st;

	if (w && (w->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) >= 0) {
		w->c.ops = ops;
		w->fd = fd;
		w->file = !fstat(fd, &st) && S_ISREG(st.st_mode);
		return w;
	}
	free(w);
	close(fd);
	return NULL;
}

void vio_way_close(struct vio_way *w)
{
	close(w->fd);
	close(w->stop);
	free(w);
}

void vio_way_shut(struct vio_channel *c)
{
	struct vio_way *w = (struct vio_way *)c;
	uint64_t one = 1;

	if (write(w->stop, &one, sizeof one) < 0)
		return;			/* it has been shut very often */
}

int vio_way_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int)((unsigned)t.tv_sec * 1000u + (unsigned)(t.tv_nsec / 1000000));
}

int vio_way_wait(struct vio_way *w, short events, int patience)
{
	int begun = vio_way_now_ms();

	for (;;) {
		struct pollfd p[2] = { { .fd = w->stop, .events = POLLIN }, { .fd = w->file ? -1 : w->fd, .events = events } };
		int left = patience - (int)((unsigned)vio_way_now_ms() - (unsigned)begun);
		int n = poll(p, 2, w->file || left < 0 ? 0 : left);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[0].revents)
			return -ECANCELED;
		if (w->file || (n > 0 && p[1].revents))
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
	}
}

/* ---- Files and pipes ---- */

static ssize_t file_read(struct vio_channel *c, void *to, size_t n)
{
	struct vio_way *w = (struct vio_way *)c;

	for (;;) {
		int error = vio_way_wait(w, POLLIN, VIO_CHANNEL_PATIENCE);
		if (error)
			return error;
		ssize_t got = read(w->fd, to, n);
		if (got >= 0)
			return got;
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
}

/* A pipe that is ready takes so much without waiting. */
static ssize_t file_write(struct vio_channel *c, const void *from, size_t n)
{
	struct vio_way *w = (struct vio_way *)c;

	for (;;) {
		int error = vio_way_wait(w, POLLOUT, VIO_CHANNEL_PATIENCE);
		if (error)
			return error;
		ssize_t done = write(w->fd, from, w->file || n < PIPE_BUF ? n : PIPE_BUF);
		if (done > 0)
			return done;
		if (done == 0)
			return -ENOSPC;
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
}

static void file_close(struct vio_channel *c) { vio_way_close((struct vio_way *)c); }

struct vio_channel *vio_channel_file(int fd)
{
	static const struct vio_channel_ops ops = { file_read, file_write, vio_way_shut, file_close };
	struct vio_way *w = vio_way_open(fd, &ops);

	return w ? &w->c : NULL;
}
