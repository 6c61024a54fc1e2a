/*
 * File system driver (virtio 1.4, section 5.11).
 *
 * A request is one chain: header and arguments, what is sent; header and answer, what is received.  What the device says of
 * itself is checked when it is read; what it says about a request is copied once, when it comes back.  FORGET and INTERRUPT
 * go by the high priority queue, which nothing else uses (5.11.6.2).
 */
#include <vio/driver/fs.h>
#include <vio/ring/freestanding.h>

enum { BUFS = VIO_FS_DRV_INDIRECT, HIPRIO = 0, FIRST = 1, READ_MOST = 1 << 20, READ_LEAST = 4096 };

#define BIT(name) (UINT64_C(1) << VIO_FUSE_##name)

struct vio_features vio_fs_drives(void)
{
	static const unsigned char bits[] = {	/* not NOTIFICATION: FUSE has given its number of NOTIFY_LOCK to another message */
		VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_VERSION_1, VIO_F_ACCESS_PLATFORM, VIO_F_RING_PACKED, VIO_F_IN_ORDER,
		VIO_F_ORDER_PLATFORM, VIO_F_NOTIFICATION_DATA, VIO_F_RING_RESET, VIO_F_SUSPEND,
	};
	return vio_features_of(bits, sizeof bits);
}

static const struct vio_platform *platform(const struct vio_fs *f) { return &f->drv.port->platform; }

/* ---- Start and stop ---- */

static bool read_config(struct vio_fs *f, const struct vio_fs_setup *s)
{
	vio_le32 queues = vio_le32_of(s->queues_there);

	if (!s->queues_there && (!vio_drv_config(&f->drv, offsetof(struct vio_fs_config, tag), f->tag, sizeof f->tag - 1) ||
	    !vio_drv_config(&f->drv, offsetof(struct vio_fs_config, num_request_queues), &queues, sizeof queues)))
		return false;
	uint32_t n = vio_le32_get(queues);
	if (n == 0)
		return vio_drv_fail(&f->drv, "the device says that it has no request queues");
	f->queues = n < s->queues ? (uint16_t)n : s->queues;
	return true;
}

/* Map memory that must be contiguous for the device. */
static bool map_whole(struct vio_fs *f, const void *p, uint64_t bytes, struct vio_buf *out)
{
	const struct vio_platform *pf = platform(f);

	if (bytes > UINT32_MAX)
		return false;
	unsigned n = pf->ops->map(pf->arg, p, (uint32_t)bytes, VIO_BOTH_WAYS, out, 1);
	if (n == 1 && out->len == bytes)
		return true;
	if (n)
		pf->ops->unmap(pf->arg, p, (uint32_t)bytes, VIO_BOTH_WAYS, out, n);
	out->len = 0;
	return false;
}

static void unmap_whole(struct vio_fs *f, const void *p, struct vio_buf *buf)
{
	const struct vio_platform *pf = platform(f);

	if (buf->len)
		pf->ops->unmap(pf->arg, p, buf->len, VIO_BOTH_WAYS, buf, 1);
	buf->len = 0;
}

/* What there is room for and the device can do. */
static uint16_t queue_size(struct vio_fs *f, uint16_t queue, uint16_t most)
{
	uint16_t size = f->drv.port->ops->queue_max(f->drv.port, queue);

	if (size > most)
		size = most;
	if (size > VIO_RING_SIZE_MAX)
		size = VIO_RING_SIZE_MAX;
	while (!vio_drv_has(&f->drv, VIO_F_RING_PACKED) && size & (size - 1))
		size &= (uint16_t)(size - 1);		/* 2.7: a power of two */
	return size;
}

static bool start_hiprio(struct vio_fs *f)
{
	uint16_t size = queue_size(f, HIPRIO, VIO_FS_DRV_HIPRIO);

	if (size == 0)
		return vio_drv_fail(&f->drv, "the device has no high priority queue");
	if (!map_whole(f, f->ring, sizeof f->ring, &f->hiprio_ring))
		return vio_drv_fail(&f->drv, "the ring's memory can't be mapped in one piece");
	struct vio_drvq_setup setup = {
		.size = size, .features = f->drv.features, .ring = f->ring, .ring_addr = f->hiprio_ring.addr, .slots = f->hiprio_slots,
	};
	vio_drvq_init(&f->hiprio, &setup);
	return vio_drv_queue(&f->drv, HIPRIO, &f->hiprio);
}

static bool start_queue(struct vio_fs *f, uint16_t i, uint16_t most)
{
	struct vio_fs_queue_memory *m = &f->memory[i];
	uint16_t size = queue_size(f, FIRST + i, most);

	if (size < 2)		/* a header is readable, another writable */
		return vio_drv_fail(&f->drv, "the device has no such queue, or one too short for a request");
	if (!map_whole(f, m->ring, VIO_DRVQ_RING_BYTES((uint64_t)size), &f->mapped[i].ring))
		return vio_drv_fail(&f->drv, "the ring's memory can't be mapped in one piece");
	if (m->indirect && !map_whole(f, m->indirect, (uint64_t)size * VIO_FS_DRV_INDIRECT * sizeof *m->indirect,
	    &f->mapped[i].indirect))
		return vio_drv_fail(&f->drv, "the memory for indirect tables can't be mapped in one piece");
	struct vio_drvq_setup setup = {
		.size = size, .features = f->drv.features, .slots = m->slots,
		.ring = m->ring, .ring_addr = f->mapped[i].ring.addr, .indirect = m->indirect,
		.indirect_addr = f->mapped[i].indirect.addr, .indirect_max = VIO_FS_DRV_INDIRECT,
	};
	vio_drvq_init(&f->q[i], &setup);
	f->stopped &= ~(UINT32_C(1) << i);
	return vio_drv_queue(&f->drv, FIRST + i, &f->q[i]);
}

static bool start_queues(struct vio_fs *f, const struct vio_fs_setup *s)
{
	if (!start_hiprio(f))
		return false;
	for (uint16_t i = 0; i < f->queues; i++) {
		f->memory[i] = s->memory[i];
		if (!start_queue(f, i, s->queue_size))
			return false;
	}
	return vio_drv_ready(&f->drv);
}

/* What INIT has settled, within reason: a device that says 0 or too much gets what every device can do. */
static bool take_init(struct vio_fs *f, uint64_t asked, const struct vio_fuse_init_out *out)
{
	uint32_t pages = vio_le16_get(out->max_pages), write = vio_le32_get(out->max_write);

	f->minor = vio_le32_get(out->minor);
	if (vio_le32_get(out->major) != VIO_FUSE_MAJOR || f->minor > VIO_FUSE_MINOR || f->minor < VIO_FUSE_MINOR_LEAST)
		return vio_drv_fail(&f->drv, "the device speaks another version of FUSE");
	f->flags = vio_le32_get(out->flags);
	if (f->flags & BIT(INIT_EXT))
		f->flags |= (uint64_t)vio_le32_get(out->flags2) << 32;
	if (f->flags & ~asked)
		return vio_drv_fail(&f->drv, "the device agreed to what it was not asked");
	if (!(f->flags & BIT(MAX_PAGES)) || pages == 0)
		pages = 32;
	f->max_read = pages < READ_MOST / 4096 ? pages * 4096 : READ_MOST;
	f->max_write = write < READ_LEAST ? READ_LEAST : write < f->max_read ? write : f->max_read;
	return true;
}

static bool init(struct vio_fs *f, uint64_t flags)
{
	struct vio_fs_request *r = &f->own;
	struct vio_fuse_init_in in = {
		.major = vio_le32_of(VIO_FUSE_MAJOR), .minor = vio_le32_of(VIO_FUSE_MINOR), .max_readahead = vio_le32_of(READ_MOST),
	};
	struct vio_fuse_init_out out;

	flags |= BIT(MAX_PAGES) | BIT(INIT_EXT) | BIT(BIG_WRITES);
	in.flags = vio_le32_of((uint32_t)flags);
	in.flags2 = vio_le32_of((uint32_t)(flags >> 32));
	memcpy(r->args, &in, sizeof in);
	r->opcode = VIO_FUSE_INIT;
	r->args_len = sizeof in;
	r->answer_len = sizeof out;
	int error = vio_fs_do(f, r);
	if (error)		/* when it was not answered, the sentence says so already */
		return vio_drv_fail(&f->drv, "the device refuses to begin a FUSE session");
	memcpy(&out, r->answer, sizeof out);
	return take_init(f, flags, &out);
}

bool vio_fs_start(struct vio_fs *f, struct vio_drv_port *port, const struct vio_fs_setup *s)
{
	struct vio_features wanted = vio_fs_drives();

	*f = (struct vio_fs){ .queues = 0 };
	if (s->queues < 1 || s->queues > VIO_FS_DRV_QUEUES) {
		f->drv.failed = "a file system driver has 1 to 16 request queues";
		return false;
	}
	if (!vio_features_none(s->wanted))
		wanted = vio_features_and(wanted, s->wanted);
	if (!vio_drv_begin(&f->drv, port, VIO_ID_FS, wanted, NULL))
		return false;
	if (read_config(f, s) && start_queues(f, s) && init(f, s->init_flags))
		return true;
	const char *why = f->drv.failed;
	if (f->drv.status & VIO_S_FAILED)	/* it may know of some rings, and must forget them before they are unmapped */
		vio_fs_stop(f);
	f->drv.failed = why;
	return false;
}

static void unmap_urgent(struct vio_fs *f, struct vio_fs_hiprio *u)
{
	const struct vio_platform *pf = platform(f);

	pf->ops->unmap(pf->arg, &u->in, sizeof u->in + sizeof u->args, VIO_TO_DEVICE, u->buf, u->bufs);
	u->busy = false;
}

bool vio_fs_stop(struct vio_fs *f)
{
	if (!vio_drv_reset(&f->drv))
		return false;
	for (unsigned i = 0; i < VIO_FS_DRV_QUEUES; i++) {
		unmap_whole(f, f->memory[i].ring, &f->mapped[i].ring);
		unmap_whole(f, f->memory[i].indirect, &f->mapped[i].indirect);
	}
	for (unsigned i = 0; i < VIO_FS_DRV_HIPRIO; i++)
		if (f->urgent[i].busy)
			unmap_urgent(f, &f->urgent[i]);
	unmap_whole(f, f->ring, &f->hiprio_ring);
	f->stopped = UINT32_MAX;
	return true;
}

/* ---- Requests ---- */

enum { IN_HEADER = sizeof(struct vio_fuse_in_header), OUT_HEADER = sizeof(struct vio_fuse_out_header) };
VIO_STATIC_ASSERT(offsetof(struct vio_fs_request, args) == IN_HEADER, "mapped together");
VIO_STATIC_ASSERT(offsetof(struct vio_fs_request, answer) - offsetof(struct vio_fs_request, out) == OUT_HEADER, "mapped together");
VIO_STATIC_ASSERT(offsetof(struct vio_fs_hiprio, args) == IN_HEADER, "mapped together");

static bool allowed(const struct vio_fs *f, const struct vio_fs_request *r)
{
	if ((r->send_len && !r->send) || (r->receive_len && !r->receive) || r->args_len > VIO_FS_ARGS || r->answer_len > VIO_FS_ANSWER)
		return false;
	switch (r->opcode) {
	case VIO_FUSE_FORGET:		/* 5.11.6.2: these by the high priority queue and no other way */
	case VIO_FUSE_BATCH_FORGET:
	case VIO_FUSE_INTERRUPT:
		return false;
	case VIO_FUSE_WRITE:
		return r->send_len <= f->max_write;
	case VIO_FUSE_READ:
	case VIO_FUSE_READDIR:
	case VIO_FUSE_READDIRPLUS:
		return r->receive_len <= f->max_read;
	default:
		return true;
	}
}

static void unmap(struct vio_fs *f, struct vio_fs_request *r)
{
	const struct vio_platform *pf = platform(f);

	if (r->receive_bufs)
		pf->ops->unmap(pf->arg, r->receive, r->receive_len, VIO_FROM_DEVICE, r->receive_buf, r->receive_bufs);
	if (r->send_bufs)
		pf->ops->unmap(pf->arg, r->send, r->send_len, VIO_TO_DEVICE, r->send_buf, r->send_bufs);
	if (r->out_bufs)
		pf->ops->unmap(pf->arg, &r->out, OUT_HEADER + r->answer_len, VIO_FROM_DEVICE, r->out_buf, r->out_bufs);
	if (r->in_bufs)
		pf->ops->unmap(pf->arg, &r->in, IN_HEADER + r->args_len, VIO_TO_DEVICE, r->in_buf, r->in_bufs);
	r->receive_bufs = r->send_bufs = r->out_bufs = r->in_bufs = 0;
}

static bool map(struct vio_fs *f, struct vio_fs_request *r)
{
	const struct vio_platform *pf = platform(f);

	r->in_bufs = r->out_bufs = r->send_bufs = r->receive_bufs = 0;
	r->in_bufs = (uint8_t)pf->ops->map(pf->arg, &r->in, IN_HEADER + r->args_len, VIO_TO_DEVICE, r->in_buf, 2);
	if (r->in_bufs)
		r->out_bufs = (uint8_t)pf->ops->map(pf->arg, &r->out, OUT_HEADER + r->answer_len, VIO_FROM_DEVICE, r->out_buf, 2);
	if (r->out_bufs && r->send_len)
		r->send_bufs = (uint8_t)pf->ops->map(pf->arg, r->send, r->send_len, VIO_TO_DEVICE, r->send_buf, VIO_FS_DRV_SEGS);
	if (r->out_bufs && r->receive_len)
		r->receive_bufs = (uint8_t)pf->ops->map(pf->arg, r->receive, r->receive_len, VIO_FROM_DEVICE, r->receive_buf,
		    VIO_FS_DRV_SEGS);
	if (r->out_bufs && (!r->send_len || r->send_bufs) && (!r->receive_len || r->receive_bufs))
		return true;
	unmap(f, r);
	return false;
}

static unsigned append(struct vio_buf *to, const struct vio_buf *from, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		to[i] = from[i];
	return n;
}

static bool add(struct vio_fs *f, uint16_t queue, struct vio_fs_request *r)
{
	struct vio_buf bufs[BUFS];
	unsigned readable = append(bufs, r->in_buf, r->in_bufs);

	readable += append(bufs + readable, r->send_buf, r->send_bufs);
	unsigned n = readable + append(bufs + readable, r->out_buf, r->out_bufs);
	n += append(bufs + n, r->receive_buf, r->receive_bufs);
	if (n > f->q[queue].size) {
		r->error = VIO_FUSE_EINVAL;
		return false;
	}
	if (vio_drvq_add(&f->q[queue], bufs, readable, n - readable, r))
		return true;
	r->error = f->q[queue].broken ? VIO_FS_E_LOST : VIO_FUSE_EAGAIN;
	return false;
}

bool vio_fs_submit(struct vio_fs *f, uint16_t queue, struct vio_fs_request *r)
{
	r->got = 0;
	r->error = VIO_FUSE_EINVAL;
	if (queue >= f->queues || !allowed(f, r))
		return false;
	if (f->stopped >> queue & 1) {
		r->error = VIO_FS_E_LOST;
		return false;
	}
	/* Even: the odd one behind it is an interrupt's. */
	uint64_t unique = __atomic_add_fetch(&f->unique, 2, __ATOMIC_RELAXED);
	r->in = (struct vio_fuse_in_header){
		.len = vio_le32_of(IN_HEADER + r->args_len + r->send_len), .opcode = vio_le32_of(r->opcode),
		.unique = vio_le64_of(unique), .nodeid = vio_le64_of(r->node), .uid = vio_le32_of(r->uid), .gid = vio_le32_of(r->gid),
		.pid = vio_le32_of(r->pid),
	};
	if (!map(f, r))
		return false;
	if (add(f, queue, r))
		return true;
	unmap(f, r);
	return false;
}

void vio_fs_kick(struct vio_fs *f, uint16_t queue) { vio_drv_kick(&f->drv, FIRST + queue, &f->q[queue]); }

/* Is what came back an answer to what was asked?  The error it has. */
static int judge(struct vio_fs_request *r, uint32_t used)
{
	struct vio_fuse_out_header h;

	if (used < OUT_HEADER)
		return VIO_FS_E_WRONG;
	memcpy(&h, &r->out, sizeof h);
	__asm__("" : : : "memory");		/* the copy is what is judged */
	uint32_t len = vio_le32_get(h.len), error = -vio_le32_get(h.error);
	if (len > used || len < OUT_HEADER || vio_le64_get(h.unique) != vio_le64_get(r->in.unique) || error > 511)
		return VIO_FS_E_WRONG;
	if (error)
		return (int)error;
	if (len - OUT_HEADER < r->answer_len)
		return VIO_FS_E_WRONG;
	r->got = len - OUT_HEADER - r->answer_len;
	if (r->got <= r->receive_len)
		return 0;
	r->got = 0;
	return VIO_FS_E_WRONG;
}

static struct vio_fs_request *finish(struct vio_fs *f, struct vio_fs_request *r, uint32_t used)
{
	unmap(f, r);
	r->error = judge(r, used);
	return r;
}

struct vio_fs_request *vio_fs_poll(struct vio_fs *f, uint16_t queue)
{
	struct vio_fs_request *r = f->finished;
	uint32_t used;

	if (__builtin_expect(queue == 0 && r, 0)) {
		f->finished = r->next;
		return r;
	}
	r = f->stopped >> queue & 1 ? NULL : vio_drvq_get(&f->q[queue], &used);
	return r ? finish(f, r, used) : NULL;
}

static void keep(struct vio_fs *f, struct vio_fs_request *r)
{
	struct vio_fs_request **end = &f->finished;

	while (*end)
		end = &(*end)->next;
	r->next = NULL;
	*end = r;
}

/* Nothing came in time, or nothing sensible can: only a reset makes r's memory ours again (3.3.1). */
static int give_up(struct vio_fs *f, struct vio_fs_request *r)
{
	const char *why = f->q[0].broken ? f->q[0].broken : "the device did not answer a request in time";
	struct vio_fs_request *other;

	vio_drv_fail(&f->drv, why);
	if (vio_fs_stop(f))
		while ((other = vio_fs_abandon(f, 0)))
			if (other != r)
				keep(f, other);
	return r->error = VIO_FS_E_LOST;
}

int vio_fs_do(struct vio_fs *f, struct vio_fs_request *r)
{
	const struct vio_platform *pf = platform(f);
	uint64_t deadline = pf->ops->now_ns(pf->arg) + VIO_DRV_PATIENCE_NS;
	bool submitted = false;
	uint32_t used;

	while (f->drv.status & VIO_S_DRIVER_OK) {	/* nor while suspended */
		if (!submitted) {
			submitted = vio_fs_submit(f, 0, r);
			if (!submitted && r->error != VIO_FUSE_EAGAIN)
				return r->error;
		}
		struct vio_fs_request *done = vio_drv_get_wait(&f->drv, FIRST, &f->q[0], &used, deadline);
		if (!done)
			return give_up(f, r);
		if (finish(f, done, used) == r)
			return r->error;
		keep(f, done);
	}
	return r->error = VIO_FS_E_LOST;
}

struct vio_fs_request *vio_fs_abandon(struct vio_fs *f, uint16_t queue)
{
	if (queue >= f->queues || !(f->stopped >> queue & 1))
		return NULL;
	struct vio_fs_request *r = vio_drvq_take_back(&f->q[queue]);
	if (!r)
		return NULL;
	unmap(f, r);
	r->error = VIO_FS_E_LOST;
	return r;
}

/* ---- The high priority queue ---- */

static struct vio_fs_hiprio *free_urgent(struct vio_fs *f)
{
	for (unsigned i = 0; i < VIO_FS_DRV_HIPRIO; i++)
		if (!f->urgent[i].busy)
			return &f->urgent[i];
	return NULL;
}

/* Take back what the device has done with; wait for one if there must be. */
static struct vio_fs_hiprio *get_urgent(struct vio_fs *f)
{
	const struct vio_platform *pf = platform(f);
	struct vio_fs_hiprio *u;
	uint32_t used;

	while ((u = vio_drvq_get(&f->hiprio, &used)))
		unmap_urgent(f, u);
	u = free_urgent(f);
	if (u)
		return u;
	u = vio_drv_get_wait(&f->drv, HIPRIO, &f->hiprio, &used, pf->ops->now_ns(pf->arg) + VIO_DRV_PATIENCE_NS);
	if (u)
		unmap_urgent(f, u);
	return u;
}

static bool urge(struct vio_fs *f, uint32_t opcode, uint64_t unique, uint64_t node, uint64_t arg)
{
	const struct vio_platform *pf = platform(f);
	struct vio_fs_hiprio *u = f->drv.status & VIO_S_DRIVER_OK ? get_urgent(f) : NULL;
	vio_le64 wire = vio_le64_of(arg);

	if (!u)
		return false;
	u->in = (struct vio_fuse_in_header){
		.len = vio_le32_of(sizeof u->in + sizeof u->args), .opcode = vio_le32_of(opcode), .unique = vio_le64_of(unique),
		.nodeid = vio_le64_of(node),
	};
	memcpy(u->args, &wire, sizeof wire);
	u->bufs = (uint8_t)pf->ops->map(pf->arg, &u->in, sizeof u->in + sizeof u->args, VIO_TO_DEVICE, u->buf, 2);
	if (!u->bufs)
		return false;
	u->busy = vio_drvq_add(&f->hiprio, u->buf, u->bufs, 0, u);
	if (!u->busy) {
		unmap_urgent(f, u);
		return false;
	}
	vio_drv_kick(&f->drv, HIPRIO, &f->hiprio);
	return true;
}

bool vio_fs_forget(struct vio_fs *f, uint64_t node, uint64_t lookups)
{
	return urge(f, VIO_FUSE_FORGET, __atomic_add_fetch(&f->unique, 2, __ATOMIC_RELAXED), node, lookups);
}

bool vio_fs_interrupt(struct vio_fs *f, const struct vio_fs_request *r)
{
	uint64_t unique = vio_le64_get(r->in.unique);
	return urge(f, VIO_FUSE_INTERRUPT, unique | 1, 0, unique);
}
