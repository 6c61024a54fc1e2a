/*
 * In-flight memory: where the rings' journals lie (vio/ring/journal.h), one region a queue, in a file that the front end
 * keeps while back ends come and go.
 *
 * A journal is laid out for the ring's format, which SET_FEATURES tells.  QEMU's vhost-user-scsi asks for the memory and gives
 * it back before that, and a guest that boots again may bring a driver that chooses the other format.  So the memory that is
 * made is large enough for either, what is given may be as small as split rings need, and whether it fits is decided when a
 * ring starts.
 */
#include <vio/vhost/server.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t bytes_of(const struct vio_vhost_inflight *i, bool packed)
{
	return i->queues * vio_journal_bytes(i->queue_size, packed);
}

static const char *check(const struct vio_vhost_inflight *i)
{
	if (i->queues == 0 || i->queues > VIO_DEV_QUEUES)
		return "in-flight memory for no queues, or for more than a device may have";
	if (i->queue_size == 0 || i->queue_size > VIO_RING_SIZE_MAX)
		return "in-flight memory for queues of no entries, or of more than 32768";
	return NULL;
}

/* Sealed, so that nobody can cut it short under us. */
static int make_file(uint64_t bytes)
{
	int fd = memfd_create("vio-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -1;
	if (ftruncate(fd, (off_t)bytes) || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
		close(fd);
		return -1;
	}
	return fd;
}

const char *vio_vhost_on_GET_INFLIGHT_FD(struct vio_vhost *s, struct vio_vhost_work *w)
{
	struct vio_vhost_inflight *i = &w->m.payload.inflight;
	const char *why = check(i);

	(void)s;
	if (why)
		return why;
	i->size = bytes_of(i, true);	/* the larger of the two */
	i->offset = 0;
	w->reply_fd = make_file(i->size);
	w->reply_size = w->m.header.size;
	return w->reply_fd < 0 ? "there is no memory for in-flight requests" : NULL;
}

const char *vio_vhost_on_SET_INFLIGHT_FD(struct vio_vhost *s, struct vio_vhost_work *w)
{
	const struct vio_vhost_inflight *i = &w->m.payload.inflight;
	const char *why = check(i);
	uint64_t needed = bytes_of(i, s->has_features && vio_vhost_is_packed(s)), most = bytes_of(i, true);

	if (why)
		return why;
	if (i->offset % VIO_JOURNAL_ALIGN)
		return "in-flight memory is misaligned";
	if (i->size < needed)
		return "in-flight memory is too small for its queues";
	struct vio_vhost_map *map = vio_vhost_map_new(w->m.fd[0], i->offset, i->size < most ? i->size : most, &s->dead, &why);
	if (!map)
		return why;
	vio_vhost_map_unref(s->inflight);
	s->inflight = map;
	s->inflight_is = *i;
	return NULL;
}

void *vio_vhost_journal(struct vio_vhost_ring *r, const char **why)
{
	struct vio_vhost *s = r->s;

	*why = NULL;
	if (!s->inflight)
		return NULL;
	uint64_t each = vio_journal_bytes(s->inflight_is.queue_size, vio_vhost_is_packed(s));
	if (r->index >= s->inflight_is.queues || r->size > s->inflight_is.queue_size || each * (r->index + 1) > s->inflight->size) {
		*why = "the in-flight memory has no room for this queue: ask for more queues or larger ones in GET_INFLIGHT_FD";
		return NULL;
	}
	return s->inflight->at + each * r->index;
}
