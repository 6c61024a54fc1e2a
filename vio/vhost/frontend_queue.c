/* The front end's in-flight region and queues: what is sent when, and what is given again. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vio/ring/journal.h>
#include <vio/vhost/frontend_impl.h>

/* How many queues are set up, and how large is the largest?  Unless that was said. */
static void queues_in_use(const struct vio_vhost_front *f, uint16_t *count, uint16_t *size)
{
	*count = f->record_queues;
	*size = f->record_size;
	if (*count)
		return;
	for (uint16_t i = 0; i < VIO_FRONT_QUEUES; i++)
		if (f->queue[i].set) {
			*count = (uint16_t)(i + 1);
			if (f->queue[i].size > *size)
				*size = f->queue[i].size;
		}
}

/* Asked for when queues are started anew, given back to whoever comes after a crash. */
bool vio_front_inflight(struct vio_vhost_front *f)
{
	struct vio_vhost_inflight want = { 0 };
	union vio_vhost_payload reply;
	struct stat st;

	if (!f->o.inflight || !vio_front_uses(f, VIO_VHOST_F_INFLIGHT_SHMFD))
		return true;
	queues_in_use(f, &want.queues, &want.queue_size);
	if (f->inflight_fd < 0) {
		const struct vio_front_question q = { .request = VIO_MSG_GET_INFLIGHT_FD, .payload = &want, .size = sizeof want,
			.min = sizeof want, .max = sizeof want };
		if (!vio_front_ask(f, &q, &reply, NULL, &f->inflight_fd))
			return false;
		f->inflight = reply.inflight;
		if (f->inflight_fd < 0 || fstat(f->inflight_fd, &st) != 0 || f->inflight.size == 0
		    || f->inflight.offset > (uint64_t)st.st_size
		    || f->inflight.size > (uint64_t)st.st_size - f->inflight.offset) {
			vio_front_close(&f->inflight_fd);
			return vio_front_fail(f, "The back end's in-flight region is smaller than it says.");
		}
		f->inflight.queues = want.queues;
		f->inflight.queue_size = want.queue_size;
	}
	return vio_front_tell(f, VIO_MSG_SET_INFLIGHT_FD, &f->inflight, sizeof f->inflight, &f->inflight_fd, 1);
}

bool vio_front_reaches(const struct vio_vhost_front *f, uint16_t queue)
{
	const struct vio_front_queue *q = &f->queue[queue];

	return vio_front_took(f, VIO_F_ACCESS_PLATFORM) ||	/* they are I/O virtual addresses */
	    (vio_front_uva(f, q->desc, vio_ring_desc_bytes(q->size)) &&
	    vio_front_uva(f, q->driver, vio_ring_driver_bytes(q->size, q->packed)) &&
	    vio_front_uva(f, q->device, vio_ring_device_bytes(q->size, q->packed)));
}

bool vio_front_addresses(struct vio_vhost_front *f, uint16_t queue)
{
	const struct vio_front_queue *q = &f->queue[queue];
	struct vio_vhost_addr a = { .index = queue, .desc = q->desc, .used = q->device, .avail = q->driver };
	if (f->logging) {
		a.flags = VIO_VHOST_ADDR_LOG;
		a.log = q->device;
	}
	if (!vio_front_took(f, VIO_F_ACCESS_PLATFORM)) {	/* otherwise they are I/O virtual addresses */
		a.desc = vio_front_uva(f, a.desc, vio_ring_desc_bytes(q->size));
		a.avail = vio_front_uva(f, a.avail, vio_ring_driver_bytes(q->size, q->packed));
		a.used = vio_front_uva(f, a.used, vio_ring_device_bytes(q->size, q->packed));
		if (!a.desc || !a.avail || !a.used)
			return vio_front_fail(f, "The rings of queue %u are not in the shared memory.", queue);
	}
	return vio_front_tell(f, VIO_MSG_SET_VRING_ADDR, &a, sizeof a, NULL, 0);
}

/* ---- where a queue stands ---- */

/* The front end's own view of the record that the back end keeps: read, never mapped, so that a file cut short harms nobody. */
static bool journal_read(const struct vio_vhost_front *f, uint16_t queue, struct vio_journal_packed *head)
{
	uint64_t at = f->inflight.offset + queue * vio_journal_bytes(f->inflight.queue_size, true);
	return f->inflight_fd >= 0 && queue < f->inflight.queues
	    && pread(f->inflight_fd, head, sizeof *head, (off_t)at) == (ssize_t)sizeof *head && head->version == VIO_JOURNAL_VERSION;
}

uint32_t vio_front_place(const struct vio_vhost_front *f, uint16_t queue)
{
	const struct vio_front_queue *fq = &f->queue[queue];
	struct vio_journal_packed head;
	uint32_t at;

	if (!fq->packed) {
		uint64_t used = vio_front_uva(f, fq->device, vio_ring_device_bytes(fq->size, false));
		return used ? vio_shared_acquire(&((const struct vio_split_used *)(uintptr_t)used)->idx) : fq->base;
	}
	if (fq->q)
		at = fq->q->packed.used_at | (uint32_t)fq->q->packed.used_wrap << 15;
	else if (journal_read(f, queue, &head) && head.used_idx < fq->size)
		at = head.used_idx | (uint32_t)(head.used_wrap_counter & 1) << 15;
	else
		return fq->base;
	return at | at << 16;
}

void vio_front_inflight_clear(struct vio_vhost_front *f, uint16_t queue)
{
	static const unsigned char zeroes[4096];
	uint64_t each = vio_journal_bytes(f->inflight.queue_size, f->queue[queue].packed), at = f->inflight.offset + queue * each;

	if (f->inflight_fd < 0 || queue >= f->inflight.queues)
		return;
	for (uint64_t left = each; left;) {
		size_t n = left < sizeof zeroes ? (size_t)left : sizeof zeroes;
		if (pwrite(f->inflight_fd, zeroes, n, (off_t)at) != (ssize_t)n)
			return;		/* the back end has made the file smaller: it will hear of it when it looks */
		at += n;
		left -= n;
	}
}

/* ---- queues ---- */

/* fd -1: none, the other side polls */
static bool send_queue_fd(struct vio_vhost_front *f, uint32_t request, uint16_t queue, int fd)
{
	uint64_t v = queue | (fd < 0 ? (uint64_t)VIO_VHOST_NO_FD : 0);
	return vio_front_tell(f, request, &v, sizeof v, &fd, fd >= 0);
}

static bool make_eventfd(struct vio_vhost_front *f, int *fd)
{
	if (*fd < 0)
		*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *fd >= 0 || vio_front_fail(f, "No eventfd can be made: %s.", strerror(errno));
}

bool vio_front_events(struct vio_vhost_front *f, uint16_t queue)
{
	struct vio_front_queue *fq = &f->queue[queue];
	return make_eventfd(f, &fq->kick) && (f->o.no_call || make_eventfd(f, &fq->call)) && make_eventfd(f, &f->error);
}

bool vio_front_describe(struct vio_vhost_front *f, uint16_t queue)
{
	struct vio_front_queue *fq = &f->queue[queue];
	bool in_band = vio_front_uses(f, VIO_VHOST_F_INBAND_NOTIFICATIONS);
	struct vio_vhost_state num = { queue, fq->size }, base = { queue, fq->base };

	if (!in_band && !vio_front_events(f, queue))
		return false;
	if (!vio_front_memory(f) || !vio_front_tell(f, VIO_MSG_SET_VRING_NUM, &num, sizeof num, NULL, 0)
	    || !vio_front_tell(f, VIO_MSG_SET_VRING_BASE, &base, sizeof base, NULL, 0) || !vio_front_addresses(f, queue))
		return false;
	if (in_band && !f->o.no_call)
		return true;	/* calls and errors come over the channel */
	return (in_band || send_queue_fd(f, VIO_MSG_SET_VRING_ERR, queue, f->error))
	    && send_queue_fd(f, VIO_MSG_SET_VRING_CALL, queue, fq->call);
}

bool vio_front_go(struct vio_vhost_front *f, uint16_t queue)
{
	struct vio_front_queue *fq = &f->queue[queue];
	struct vio_vhost_state s = { queue, 1 }, kick = { queue, 0 };

	fq->running = true;
	if (vio_front_uses(f, VIO_VHOST_F_INBAND_NOTIFICATIONS)) {
		if (!vio_front_tell(f, VIO_MSG_VRING_KICK, &kick, sizeof kick, NULL, 0))
			return false;
	} else if (!send_queue_fd(f, VIO_MSG_SET_VRING_KICK, queue, fq->kick))
		return false;
	/* without protocol features rings are enabled from the start */
	return !(f->offered >> VIO_VHOST_PROTOCOL_FEATURES & 1)
	    || vio_front_tell(f, VIO_MSG_SET_VRING_ENABLE, &s, sizeof s, NULL, 0);
}

bool vio_vhost_queue_stop(struct vio_vhost_front *f, uint16_t queue, uint32_t *base)
{
	struct vio_vhost_state ask = { queue, 0 };
	const struct vio_front_question q = { .request = VIO_MSG_GET_VRING_BASE, .payload = &ask, .size = sizeof ask,
		.min = sizeof ask, .max = sizeof ask, .patience_ns = 6 * f->o.patience_ns };
	union vio_vhost_payload p;

	if (queue >= VIO_FRONT_QUEUES || !f->queue[queue].running)
		return false;
	if (!vio_front_ask(f, &q, &p, NULL, NULL))
		return false;
	if (p.state.index != queue)
		return vio_front_fail(f, "The back end answered GET_VRING_BASE for queue %u instead of %u.", p.state.index, queue);
	f->queue[queue].running = false;
	f->queue[queue].base = p.state.num;
	if (base)
		*base = p.state.num;
	return true;
}

bool vio_vhost_queue_go(struct vio_vhost_front *f, uint16_t queue, uint32_t base)
{
	if (queue >= VIO_FRONT_QUEUES || !f->queue[queue].set || f->queue[queue].running)
		return false;
	f->queue[queue].base = base;
	if (!vio_front_describe(f, queue) || !vio_front_go(f, queue))
		return false;
	f->port.ops->kick(&f->port, queue, 0);	/* for what was added meanwhile */
	return !f->broken;
}

bool vio_front_send_features(struct vio_vhost_front *f)
{
	return vio_front_tell_u64(f, VIO_MSG_SET_FEATURES, f->accepted | (uint64_t)f->logging << VIO_VHOST_LOG_ALL);
}
