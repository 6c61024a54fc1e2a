/*
 * A link to measure with: a sink that copies what is sent into private memory, and a source that delivers copies of frames
 * it has there.  Frames go round in a few buffers, as they would in a real back end's pool.
 */
#include <vio/host/link_impl.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFERS = 64, BUFFER = 2048 };	/* both directions of a lane fit into a processor's second cache */
enum { HEADER = 14 };

struct null_lane {
	struct vio_link_lane lane;
	const struct vio_link *link;
	uint32_t size;			/* of the source's frames; 0: it is silent */
	unsigned sent, received;
	unsigned char *source, *sink;	/* BUFFERS of them each; the last one of each is large enough for any frame */
};

struct null_link {
	struct vio_link link;
	uint32_t size;
};

static struct null_lane *null_of(struct vio_link_lane *l) { return (struct null_lane *)l; }

static enum vio_sent null_send(struct vio_link_lane *l, const struct vio_frame *f, struct vio_cur bytes)
{
	struct null_lane *n = null_of(l);
	unsigned at = bytes.left > BUFFER ? BUFFERS - 1 : n->sent++ % (BUFFERS - 1);
	(void)f;
	if (bytes.left > VIO_FRAME_MAX || vio_link_is_cut(n->link))
		return VIO_SENT_DROPPED;
	size_t front;
	const void *p = vio_cur_front(&bytes, &front);
	if (front == bytes.left)
		memcpy(n->sink + at * BUFFER, p, front);
	else
		vio_cur_get(&bytes, n->sink + at * BUFFER, bytes.left);
	return VIO_SENT;
}

static unsigned null_receive(struct vio_link_lane *l, unsigned most)
{
	struct null_lane *n = null_of(l);
	static const struct vio_frame whole = { .flags = VIO_FRAME_CSUM_VALID };
	unsigned done = 0;
	if (!n->size)
		return 0;
	while (done < most) {
		unsigned at = n->size > BUFFER ? BUFFERS - 1 : n->received % (BUFFERS - 1);
		struct vio_seg seg = { n->source + at * BUFFER, n->size };
		if (!vio_link_is_cut(n->link) && !l->deliver(l->arg, &whole, vio_cur_new(&seg, 0, n->size)))
			break;
		n->received++;
		done++;
	}
	return done;
}

static void null_lane_close(struct vio_link_lane *l)
{
	free(null_of(l)->source);
	free(l);
}

static const struct vio_link_lane_ops lane_ops = {
	.send = null_send, .receive = null_receive, .close = null_lane_close,
};

/* A broadcast, so that every filter lets it pass, of a protocol for local experiments (IEEE 802). */
static void write_frame(unsigned char *to, uint32_t size)
{
	static const unsigned char header[HEADER] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 1, 0x88, 0xb5
	};
	memcpy(to, header, sizeof header);
	for (uint32_t i = sizeof header; i < size; i++)
		to[i] = (unsigned char)i;
}

static struct vio_link_lane *null_lane(struct vio_link *l, unsigned pair)
{
	struct null_link *link = (struct null_link *)l;
	struct null_lane *n = pair < l->lanes ? calloc(1, sizeof *n) : NULL;
	enum { BYTES = (BUFFERS - 1) * BUFFER + VIO_FRAME_MAX };
	if (!n)
		return NULL;
	n->source = calloc(2, BYTES);
	if (!n->source) {
		free(n);
		return NULL;
	}
	n->lane.ops = &lane_ops;
	n->link = l;
	n->size = link->size;
	n->sink = n->source + BYTES;
	for (unsigned i = n->size > BUFFER ? BUFFERS - 1 : 0; n->size && i < BUFFERS; i++)
		write_frame(n->source + i * BUFFER, n->size);
	return &n->lane;
}

static void null_close(struct vio_link *l) { free(l); }

static const struct vio_link_ops ops = { .lane = null_lane, .close = null_close };

struct vio_link *vio_link_null_open(unsigned lanes, uint32_t size)
{
	struct null_link *n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	n->size = size && size < HEADER ? HEADER : size > VIO_FRAME_MAX ? VIO_FRAME_MAX : size;
	n->link = (struct vio_link){
		.ops = &ops, .lanes = lanes, .takes = VIO_LINK_ALL, .up = true, .carrier = true, .speed = UINT32_MAX, .duplex = 0xff,
	};
	return &n->link;
}
