/* Device state: what the back end keeps besides what this end knows, out of it and into another one. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vio/vhost/frontend_impl.h>

/* Wait for fd.  False: it took too long. */
static bool wait_for(struct vio_vhost_front *f, int fd, short events, uint64_t deadline)
{
	for (;;) {
		uint64_t now = vio_front_now();
		struct pollfd p = { .fd = fd, .events = events };
		int n = poll(&p, 1, now >= deadline ? 0 : (int)((deadline - now) / 1000000 + 1));
		if (n > 0)
			return true;
		if ((n < 0 && errno != EINTR) || (n == 0 && now >= deadline))
			return vio_front_fail(f, "The back end's device state does not pass within the time it has.");
	}
}

/* The back end's end of a pipe goes with the message; *fd: ours, or what it gave in its place. */
static bool open_transfer(struct vio_vhost_front *f, uint32_t direction, int *fd)
{
	struct vio_vhost_transfer t = { direction, VIO_TRANSFER_STOPPED };
	bool saves = direction == VIO_TRANSFER_SAVE;
	union vio_vhost_payload reply;
	int pipes[2], given = -1;

	*fd = -1;
	if (f->broken)
		return false;
	if (!vio_front_uses(f, VIO_VHOST_F_DEVICE_STATE)) {
		strcpy(f->why, "The back end can't give its state away: it has no DEVICE_STATE.");
		return false;
	}
	if (pipe2(pipes, O_CLOEXEC) != 0)
		return vio_front_fail(f, "No pipe can be made: %s.", strerror(errno));
	const struct vio_front_question q = { .request = VIO_MSG_SET_DEVICE_STATE_FD, .payload = &t, .size = sizeof t,
		.min = sizeof reply.u64, .max = sizeof reply.u64, .send_fd = &pipes[saves] };
	bool ok = vio_front_ask(f, &q, &reply, NULL, &given);
	close(pipes[saves]);
	if (ok && (reply.u64 & VIO_TRANSFER_ERROR || (given < 0 && !(reply.u64 & VIO_TRANSFER_NO_FD)))) {
		strcpy(f->why, "The back end refuses to transfer its state.");
		ok = false;
	}
	if (ok && given >= 0) {
		*fd = given;
		given = -1;
		close(pipes[!saves]);
	} else if (ok) {
		*fd = pipes[!saves];
	} else {
		close(pipes[!saves]);
	}
	vio_front_close(&given);
	if (*fd >= 0)
		(void)fcntl(*fd, F_SETFL, fcntl(*fd, F_GETFL) | O_NONBLOCK);
	return ok;
}

static bool was_good(struct vio_vhost_front *f)
{
	uint64_t v;

	if (!vio_front_ask_u64(f, VIO_MSG_CHECK_DEVICE_STATE, &v))
		return false;
	if (v)
		strcpy(f->why, "The back end says that its state did not pass well: its own words are on its standard error.");
	return v == 0;
}

size_t vio_vhost_save(struct vio_vhost_front *f, void *to, size_t room)
{
	uint64_t deadline = vio_front_now() + f->o.patience_ns;
	unsigned char extra;
	size_t at = 0;
	int fd;

	if (!open_transfer(f, VIO_TRANSFER_SAVE, &fd))
		return 0;
	for (bool ended = false; !ended; ) {
		if (!wait_for(f, fd, POLLIN, deadline))
			break;
		ssize_t got = read(fd, at < room ? (unsigned char *)to + at : &extra, at < room ? room - at : 1);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		ended = got == 0;
		if (got > 0 && at == room)
			vio_front_fail(f, "The back end's device state is larger than %zu bytes.", room);
		else if (got < 0)
			vio_front_fail(f, "The back end's device state can't be read: %s.", strerror(errno));
		if (f->broken)
			break;
		at += (size_t)got;
	}
	vio_front_close(&fd);
	return !f->broken && was_good(f) ? at : 0;
}

/* It may be a pipe that the back end has closed: its signal is ours to swallow. */
static ssize_t write_quietly(int fd, const void *from, size_t n)
{
	sigset_t pipes, before, pending;

	sigemptyset(&pipes);
	sigaddset(&pipes, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipes, &before);
	ssize_t done = write(fd, from, n);
	int error = errno;
	if (done < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE))
		sigtimedwait(&pipes, NULL, &(struct timespec){ 0, 0 });
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return done;
}

bool vio_vhost_load(struct vio_vhost_front *f, const void *from, size_t n)
{
	uint64_t deadline = vio_front_now() + f->o.patience_ns;
	int fd;

	if (!open_transfer(f, VIO_TRANSFER_LOAD, &fd))
		return false;
	for (size_t at = 0; at < n; ) {
		if (!wait_for(f, fd, POLLOUT, deadline))
			break;
		ssize_t done = write_quietly(fd, (const unsigned char *)from + at, n - at);
		if (done < 0 && errno != EINTR && errno != EAGAIN) {
			vio_front_fail(f, "The back end does not take its device state: %s.", strerror(errno));
			break;
		}
		at += done > 0 ? (size_t)done : 0;
	}
	vio_front_close(&fd);
	return !f->broken && was_good(f);
}
