/*
 * A copy of every frame of another link in a file, as nanosecond pcap (link type Ethernet), for Wireshark and tcpdump.
 *
 * Each lane has a buffer; it is written when it is full, and a moment after the first frame in it.  The file is opened for
 * appending, so that whole buffers of several lanes follow each other.  Frames stand there as the link was given them: not
 * yet cut into segments, checksums not yet completed.
 */
#include <vio/host/link_impl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 256 * 1024 };
#define DELAY_NS UINT64_C(200000000)

struct pcap_header { uint32_t magic; uint16_t major, minor; int32_t zone; uint32_t digits, snap, type; };
struct pcap_record { uint32_t seconds, nanoseconds, here, length; };

struct pcap_lane {
	struct vio_link_lane lane;
	struct pcap_link *link;
	struct vio_link_lane *inner;
	struct vio_loop *loop;
	struct vio_timer timer;
	unsigned char *buffer;
	size_t used;
};

struct pcap_link {
	struct vio_link link;
	struct vio_link *inner;
	struct vio_link_place place;
	int fd;
	uint32_t snap;
	bool failed;			/* atomic */
	int error;
	struct vio_call tell;
	vio_link_say_fn *say;
	void *say_arg;
};

static struct pcap_lane *lane_of(struct vio_link_lane *l) { return (struct pcap_lane *)l; }

/* ---- Writing ---- */

static void tell(void *arg)
{
	struct pcap_link *p = arg;
	char why[VIO_WHY];
	vio_refuse(why, "cannot write to the capture file: %s; nothing more is captured", strerror(p->error));
	if (p->say)
		p->say(p->say_arg, why);
}

/* A file that ends in the middle of a record can't be gone on with. */
static void fail(struct pcap_link *p, int error)
{
	if (__atomic_exchange_n(&p->failed, true, __ATOMIC_ACQ_REL))
		return;
	p->error = error;
	vio_loop_call(p->place.loops[0], &p->tell);
}

static void write_out(struct pcap_lane *l)
{
	ssize_t n = 0;
	vio_loop_untimer(l->loop, &l->timer);
	if (!l->used || __atomic_load_n(&l->link->failed, __ATOMIC_RELAXED)) {
		l->used = 0;
		return;
	}
	do
		n = write(l->link->fd, l->buffer, l->used);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)l->used)
		fail(l->link, n < 0 ? errno : ENOSPC);
	l->used = 0;
}

static void on_timer(void *arg) { write_out(arg); }

static void record(struct pcap_lane *l, struct vio_cur bytes)
{
	struct timespec now;
	struct pcap_record r = { .length = (uint32_t)bytes.left };
	if (__atomic_load_n(&l->link->failed, __ATOMIC_RELAXED))
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	r.seconds = (uint32_t)now.tv_sec;
	r.nanoseconds = (uint32_t)now.tv_nsec;
	r.here = r.length < l->link->snap ? r.length : l->link->snap;
	if (BUFFER - l->used < sizeof r + r.here)
		write_out(l);
	if (!l->used)
		vio_loop_timer(l->loop, &l->timer, vio_now_ns() + DELAY_NS);
	memcpy(l->buffer + l->used, &r, sizeof r);
	vio_cur_get(&bytes, l->buffer + l->used + sizeof r, r.here);
	l->used += sizeof r + r.here;
}

/* ---- A lane ---- */

static bool inner_deliver(void *arg, const struct vio_frame *f, struct vio_cur bytes)
{
	struct pcap_lane *l = arg;
	if (vio_link_is_cut(&l->link->link))
		return true;
	bool taken = l->lane.deliver(l->lane.arg, f, bytes);
	if (taken)
		record(l, bytes);
	return taken;
}

static void inner_ready(void *arg)
{
	struct pcap_lane *l = arg;
	l->lane.ready(l->lane.arg);
}

static enum vio_sent pcap_send(struct vio_link_lane *lane, const struct vio_frame *f, struct vio_cur bytes)
{
	struct pcap_lane *l = lane_of(lane);
	enum vio_sent r = vio_link_is_cut(&l->link->link) ? VIO_SENT_DROPPED : l->inner->ops->send(l->inner, f, bytes);
	if (r == VIO_SENT)
		record(l, bytes);
	return r;
}

static void pcap_flush(struct vio_link_lane *lane)
{
	struct vio_link_lane *inner = lane_of(lane)->inner;
	if (inner->ops->flush)
		inner->ops->flush(inner);
}

static unsigned pcap_receive(struct vio_link_lane *lane, unsigned most)
{
	struct vio_link_lane *inner = lane_of(lane)->inner;
	return inner->ops->receive(inner, most);
}

static void pcap_offloads(struct vio_link_lane *lane, unsigned deliver)
{
	struct vio_link_lane *inner = lane_of(lane)->inner;
	if (inner->ops->offloads)
		inner->ops->offloads(inner, deliver);
}

static void pcap_enable(struct vio_link_lane *lane, bool on)
{
	struct pcap_lane *l = lane_of(lane);
	if (l->inner->ops->enable)
		l->inner->ops->enable(l->inner, on);
	if (!on)
		write_out(l);
}

static void pcap_lane_close(struct vio_link_lane *lane)
{
	struct pcap_lane *l = lane_of(lane);
	l->inner->ops->close(l->inner);
	free(l->buffer);
	free(l);
}

static const struct vio_link_lane_ops lane_ops = {
	.enable = pcap_enable, .send = pcap_send, .flush = pcap_flush, .receive = pcap_receive, .offloads = pcap_offloads,
	.close = pcap_lane_close,
};

static struct vio_link_lane *pcap_lane(struct vio_link *link, unsigned pair)
{
	struct pcap_link *p = (struct pcap_link *)link;
	struct pcap_lane *l = calloc(1, sizeof *l);
	if (!l)
		return NULL;
	l->buffer = malloc(BUFFER);
	l->inner = l->buffer ? p->inner->ops->lane(p->inner, pair) : NULL;
	if (!l->inner) {
		free(l->buffer);
		free(l);
		return NULL;
	}
	l->lane.ops = &lane_ops;
	l->link = p;
	l->loop = p->place.loops[pair % p->place.loop_count];
	l->timer = (struct vio_timer){ .fn = on_timer, .arg = l };
	l->inner->deliver = inner_deliver;
	l->inner->ready = inner_ready;
	l->inner->arg = l;
	return &l->lane;
}

/* ---- The link ---- */

static void pcap_promiscuous(struct vio_link *link, bool all)
{
	struct vio_link *inner = ((struct pcap_link *)link)->inner;
	if (inner->ops->promiscuous)
		inner->ops->promiscuous(inner, all);
}

static void pcap_close(struct vio_link *link)
{
	struct pcap_link *p = (struct pcap_link *)link;
	vio_link_close(p->inner);
	close(p->fd);
	free(p);
}

static const struct vio_link_ops ops = { .lane = pcap_lane, .promiscuous = pcap_promiscuous, .close = pcap_close };

static void changed(void *arg)
{
	struct pcap_link *p = arg;
	p->link.speed = p->inner->speed;
	p->link.duplex = p->inner->duplex;
	vio_link_set(&p->link, p->inner->up, p->link.cut);
}

struct vio_link *vio_link_pcap_open(struct vio_link *inner, int fd, uint32_t snap, struct vio_link_place place,
    vio_link_say_fn *say, void *say_arg, char *why)
{
	struct pcap_header h = { .magic = 0xa1b23c4d, .major = 2, .minor = 4, .snap = snap, .type = 1 };
	struct pcap_link *p = calloc(1, sizeof *p);
	int flags = fcntl(fd, F_GETFL);
	if (!p || flags < 0 || fcntl(fd, F_SETFL, flags | O_APPEND) || write(fd, &h, sizeof h) != sizeof h) {
		vio_refuse(why, "cannot write to the capture file: %s", strerror(errno));
		close(fd);
		free(p);
		return NULL;
	}
	p->link = *inner;
	p->link.ops = &ops;
	p->link.changed = NULL;
	p->inner = inner;
	p->place = place;
	p->fd = fd;
	p->snap = snap < VIO_FRAME_MAX ? snap : VIO_FRAME_MAX;
	p->tell = (struct vio_call){ .fn = tell, .arg = p };
	p->say = say;
	p->say_arg = say_arg;
	inner->changed = changed;
	inner->changed_arg = p;
	return &p->link;
}
