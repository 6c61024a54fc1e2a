/* The front end's memory, in-flight region, dirty log and queues: what is sent when, and what is given again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vio/vhost/frontend_impl.h>

bool vio_vhost_memory_make(struct vio_vhost_memory *m, uint64_t size)
{
	/* a guest address that is neither a file offset nor a host address, so that nobody can mistake one for the other */
	*m = (struct vio_vhost_memory){ .size = size, .gpa = UINT64_C(0x100000000), .fd = -1 };
	if (size == 0 || size > INT64_MAX) {
		errno = EINVAL;
		return false;
	}
	m->fd = memfd_create("vio-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0)
		return false;
	if (ftruncate(m->fd, (off_t)size) == 0 && fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
		m->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
		if (m->base != MAP_FAILED)
			return true;
	}
	int error = errno;
	vio_front_close(&m->fd);
	m->base = NULL;
	errno = error;
	return false;
}

void vio_vhost_memory_free(struct vio_vhost_memory *m)
{
	if (m->base)
		munmap(m->base, m->size);
	m->base = NULL;
	vio_front_close(&m->fd);
}

uint64_t vio_front_uva(const struct vio_vhost_front *f, uint64_t addr, uint64_t len)
{
	const struct vio_vhost_memory *m = f->o.memory;
	uint64_t at = addr - m->gpa;
	if (at >= m->size || len > m->size - at)
		return 0;
	return (uint64_t)(uintptr_t)m->base + at;
}

static unsigned region_count(const struct vio_vhost_memory *m)
{
	return m->regions ? m->regions : 1;
}

/* The i-th of the pieces memory is cut into: equally large, cut at multiples of 16. */
static struct vio_vhost_region region_at(const struct vio_vhost_memory *m, unsigned i)
{
	unsigned n = region_count(m);
	uint64_t from = m->size / n * i & ~(uint64_t)(VIO_MEM_ALIGN - 1);
	uint64_t to = i + 1 == n ? m->size : m->size / n * (i + 1) & ~(uint64_t)(VIO_MEM_ALIGN - 1);
	return (struct vio_vhost_region){ .gpa = m->gpa + from, .size = to - from,
		.uva = (uint64_t)(uintptr_t)m->base + from, .offset = from };
}

static bool send_table(struct vio_vhost_front *f)
{
	struct vio_vhost_mem_table t = { .count = region_count(f->o.memory) };
	int fds[VIO_VHOST_REGIONS];
	for (unsigned i = 0; i < t.count; i++) {
		t.region[i] = region_at(f->o.memory, i);
		fds[i] = f->o.memory->fd;
	}
	return vio_front_tell(f, VIO_MSG_SET_MEM_TABLE, &t,
	    (uint32_t)(offsetof(struct vio_vhost_mem_table, region) + t.count * sizeof *t.region), fds, t.count);
}

bool vio_front_memory(struct vio_vhost_front *f)
{
	unsigned n = region_count(f->o.memory);
	uint64_t most = f->slots ? f->slots : VIO_VHOST_REGIONS;

	if (f->memory_sent)
		return true;
	if (f->o.memory->size / n < VIO_MEM_ALIGN)
		return vio_front_fail(f, "Memory can't be cut into %u regions: they would be too small.", n);
	if (n > most)
		return vio_front_fail(f, "The back end takes %llu memory regions at most, not %u.", (unsigned long long)most, n);
	if (f->slots) {
		for (unsigned i = 0; i < n; i++) {
			struct vio_vhost_mem_reg r = { .region = region_at(f->o.memory, i) };
			if (!vio_front_tell(f, VIO_MSG_ADD_MEM_REG, &r, sizeof r, &f->o.memory->fd, 1))
				return false;
		}
	} else if (!send_table(f))
		return false;
	f->memory_sent = true;
	return true;
}

/* How many queues are set up, and how large is the largest? */
static void queues_in_use(const struct vio_vhost_front *f, uint16_t *count, uint16_t *size)
{
	*count = *size = 0;
	for (uint16_t i = 0; i < VIO_FRONT_QUEUES; i++)
		if (f->queue[i].q) {
			*count = (uint16_t)(i + 1);
			if (f->queue[i].q->size > *size)
				*size = f->queue[i].q->size;
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

static bool send_addresses(struct vio_vhost_front *f, uint16_t queue)
{
	const struct vio_drvq *q = f->queue[queue].q;
	struct vio_vhost_addr a = { .index = queue, .desc = q->desc_addr, .used = q->device_addr, .avail = q->driver_addr };
	if (f->logging) {
		a.flags = VIO_VHOST_ADDR_LOG;
		a.log = q->device_addr;
	}
	if (!vio_front_took(f, VIO_F_ACCESS_PLATFORM)) {	/* otherwise they are I/O virtual addresses */
		a.desc = vio_front_uva(f, a.desc, vio_ring_desc_bytes(q->size));
		a.avail = vio_front_uva(f, a.avail, vio_ring_driver_bytes(q->size, q->is_packed));
		a.used = vio_front_uva(f, a.used, vio_ring_device_bytes(q->size, q->is_packed));
		if (!a.desc || !a.avail || !a.used)
			return vio_front_fail(f, "The rings of queue %u are not in the shared memory.", queue);
	}
	return vio_front_tell(f, VIO_MSG_SET_VRING_ADDR, &a, sizeof a, NULL, 0);
}

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

bool vio_front_describe(struct vio_vhost_front *f, uint16_t queue)
{
	struct vio_front_queue *fq = &f->queue[queue];
	bool in_band = vio_front_uses(f, VIO_VHOST_F_INBAND_NOTIFICATIONS);
	struct vio_vhost_state num = { queue, fq->q->size }, base = { queue, fq->base };

	if (!in_band && (!make_eventfd(f, &fq->kick) || (!f->o.no_call && !make_eventfd(f, &fq->call)) || !make_eventfd(f, &f->error)))
		return false;
	if (!vio_front_memory(f) || !vio_front_tell(f, VIO_MSG_SET_VRING_NUM, &num, sizeof num, NULL, 0)
	    || !vio_front_tell(f, VIO_MSG_SET_VRING_BASE, &base, sizeof base, NULL, 0) || !send_addresses(f, queue))
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
	if (queue >= VIO_FRONT_QUEUES || !f->queue[queue].q || f->queue[queue].running)
		return false;
	f->queue[queue].base = base;
	if (!vio_front_describe(f, queue) || !vio_front_go(f, queue))
		return false;
	f->port.ops->kick(&f->port, queue, 0);	/* for what was added meanwhile */
	return !f->broken;
}

/* One bit a page up to the highest address: of memory, and of nothing above it. */
static bool make_log(struct vio_vhost_front *f)
{
	uint64_t pages = (f->o.memory->gpa + f->o.memory->size + VIO_DIRTY_PAGE - 1) / VIO_DIRTY_PAGE;
	uint64_t bytes = (pages / 8 + 1 + 4095) & ~UINT64_C(4095);

	if (f->log_bits)
		return true;
	f->log_fd = memfd_create("vio-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (f->log_fd >= 0 && ftruncate(f->log_fd, (off_t)bytes) == 0) {
		void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->log_fd, 0);
		if (p != MAP_FAILED) {
			f->log_bits = p;
			f->log_bytes = bytes;
			return true;
		}
	}
	snprintf(f->why, sizeof f->why, "No memory for a dirty log: %s.", strerror(errno));
	vio_front_close(&f->log_fd);
	return false;
}

bool vio_front_send_features(struct vio_vhost_front *f)
{
	return vio_front_tell_u64(f, VIO_MSG_SET_FEATURES, f->accepted | (uint64_t)f->logging << VIO_VHOST_LOG_ALL);
}

/* Always answered: by nothing, by what was sent, or by a number. */
bool vio_front_log(struct vio_vhost_front *f)
{
	struct vio_vhost_log log = { f->log_bytes, 0 };
	const struct vio_front_question q = { .request = VIO_MSG_SET_LOG_BASE, .payload = &log, .size = sizeof log,
		.min = 0, .max = sizeof log, .send_fd = &f->log_fd };
	union vio_vhost_payload p;
	return vio_front_ask(f, &q, &p, NULL, NULL);
}

bool vio_vhost_log(struct vio_vhost_front *f, bool on, uint8_t **bits, uint64_t *bytes)
{
	if (f->broken || !vio_front_uses(f, VIO_VHOST_F_LOG_SHMFD) || !(f->offered >> VIO_VHOST_LOG_ALL & 1))
		return false;
	if (on && (!make_log(f) || !vio_front_log(f)))
		return false;
	f->logging = on;
	if (!vio_front_send_features(f))
		return false;
	for (uint16_t i = 0; i < VIO_FRONT_QUEUES; i++)
		if (f->queue[i].running && !send_addresses(f, i))
			return false;
	if (on) {
		*bits = f->log_bits;
		*bytes = f->log_bytes;
	}
	return true;
}
