/* Two lines back to back in memory: a connection between two devices (dial_hub.c), or between a device and its tester. */
#ifndef VIO_HOST_DIAL_PAIR_H
#define VIO_HOST_DIAL_PAIR_H
#include <vio/host/dial.h>
#include <vio/ring/fifo.h>
VIO_BEGIN_DECLS

struct vio_pair_end {
	struct vio_line line;
	struct vio_pair *pair;
	struct vio_fifo in;		/* what is there to be read */
	unsigned due;			/* events not yet given */
	uint32_t port;			/* what the other end's answer() told */
	bool ended;			/* it will not write any more */
	bool closed, reset;		/* by this end; by the other one */
	bool full;			/* a write found no room */
};

struct vio_pair_list { struct vio_pair *first, *last; };
struct vio_pair {
	struct vio_pair_end end[2];
	struct vio_pair_list *list;	/* of those that have events due */
	void (*wake)(void *arg);	/* the list is not empty any more */
	void *arg;
	struct vio_pair *next;
	bool listed, busy;
	struct vio_dial_call call;
	/* The owner's; freed() when both ends are closed; may be NULL. */
	void (*freed)(struct vio_pair *p);
	struct vio_pair *owner_next;
};

/* room: bytes each direction holds, at least; for messages the longest one.  NULL: no memory. */
struct vio_pair *vio_pair_new(const struct vio_dial_call *call, uint32_t room, struct vio_pair_list *list, void (*wake)(void *arg), void *arg);
/* Nobody has had an end of it yet. */
void vio_pair_free(struct vio_pair *p);
/* Give the events of all that are in the list now.  How many. */
unsigned vio_pair_deliver(struct vio_pair_list *list);
VIO_END_DECLS
#endif
