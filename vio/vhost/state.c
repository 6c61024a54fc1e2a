/*
 * Device state (SET_DEVICE_STATE_FD, CHECK_DEVICE_STATE): the type's own parts, with the features that they belong to, while all
 * rings are stopped.  The front end keeps the rest: rings, status, guest memory.
 *
 * The protocol lets either side make the channel.  We do: a file in memory.  What is saved is all in it when the front end gets it,
 * and what is loaded is all in it when it asks whether it was good, so nobody waits for anybody.
 *
 * Front ends bring state before they settle the driver's features: QEMU does that when the device starts.  So state is judged and
 * taken at once, under the features that came with it, and taken again when those are settled, which sets defaults.
 */
#include <vio/vhost/server.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vio/device/state.h>

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void vio_vhost_state_forget(struct vio_vhost *s)
{
	close_fd(&s->state_fd);
	free(s->loaded);
	s->loaded = NULL;
	s->loaded_bytes = 0;
}

static bool write_all(int fd, const unsigned char *from, size_t n)
{
	for (size_t at = 0; at < n; ) {
		ssize_t done = write(fd, from + at, n - at);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		at += (size_t)done;
	}
	return lseek(fd, 0, SEEK_SET) == 0;
}

static const char *save(struct vio_vhost *s, int fd)
{
	size_t n = vio_dev_save_own(s->dev, NULL, 0);
	unsigned char *bytes = n <= VIO_VHOST_STATE_BYTES ? malloc(n) : NULL;
	bool ok = bytes && vio_dev_save_own(s->dev, bytes, n) == n && write_all(fd, bytes, n);

	free(bytes);
	return ok ? NULL : "there is no memory for the device's state";
}

const char *vio_vhost_on_SET_DEVICE_STATE_FD(struct vio_vhost *s, struct vio_vhost_work *w)
{
	const struct vio_vhost_transfer t = w->m.payload.transfer;
	const char *why = NULL;

	if (t.phase != VIO_TRANSFER_STOPPED)
		return "device state is transferred while the device is stopped, and it says another phase";
	if (t.direction > VIO_TRANSFER_LOAD)
		return "device state is saved or loaded, and it says neither";
	vio_vhost_state_forget(s);
	int fd = memfd_create("vio-state", MFD_CLOEXEC);
	if (fd < 0)
		return "there is no memory for the device's state";
	if (t.direction == VIO_TRANSFER_SAVE)
		why = save(s, fd);
	else if ((s->state_fd = dup(fd)) < 0)
		why = "there is no descriptor left for the device's state";
	if (why) {
		close(fd);
		return why;
	}
	w->reply_fd = fd;
	w->m.payload.u64 = 0;
	w->reply_size = sizeof w->m.payload.u64;
	return NULL;
}

/* All that the front end has written.  It may still have the file open, and nothing is believed of it twice. */
static const char *fetch(struct vio_vhost *s)
{
	struct stat st;
	size_t at = 0;

	if (fstat(s->state_fd, &st) || st.st_size > VIO_VHOST_STATE_BYTES)
		return "the device's state is larger than any that there is";
	s->loaded_bytes = (size_t)st.st_size;
	s->loaded = malloc(s->loaded_bytes ? s->loaded_bytes : 1);
	while (s->loaded && at < s->loaded_bytes) {
		ssize_t got = pread(s->state_fd, (char *)s->loaded + at, s->loaded_bytes - at, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return "the device's state was taken away while it was read";
		at += (size_t)got;
	}
	return s->loaded ? NULL : "there is no memory for the device's state";
}

const char *vio_vhost_on_CHECK_DEVICE_STATE(struct vio_vhost *s, struct vio_vhost_work *w)
{
	w->m.payload.u64 = 0;
	w->reply_size = sizeof w->m.payload.u64;
	if (s->state_fd < 0)
		return NULL;			/* it was saved, and that has been well */
	const char *why = fetch(s);
	close_fd(&s->state_fd);
	if (!why)
		why = vio_dev_load_own(s->dev, s->loaded, s->loaded_bytes, &s->loaded_features);
	if (why)
		vio_vhost_state_forget(s);
	return why;
}

void vio_vhost_state_settled(struct vio_vhost *s)
{
	const char *why;

	if (!s->loaded)
		return;
	if (!vio_features_equal(s->loaded_features, s->dev->accepted))
		why = "the driver has other features now than when it was saved";
	else
		why = vio_dev_load_own(s->dev, s->loaded, s->loaded_bytes, &s->loaded_features);
	if (why)
		vio_vhost_say(s, "the device's state that was loaded does not count: %s", why);
	vio_vhost_state_forget(s);
}
