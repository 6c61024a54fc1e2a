/*
 * Links of a Linux host (vio/backend/link.h): taps, packet sockets, interfaces, user-mode networking, and the twins.
 *
 * Everything that confinement would forbid later is done when a link is opened.  Lane p of an enabled pair lives in
 * loops[p % loop_count]; loops[0] is the home thread.  why is VIO_WHY bytes, for a sentence that names the remedy.
 */
#ifndef VIO_HOST_LINK_H
#define VIO_HOST_LINK_H
#include <vio/backend/link.h>
#include <vio/host/loop.h>
#include <vio/host/why.h>
VIO_BEGIN_DECLS

enum { VIO_LINK_LANES = 32 };		/* of one link; two queues each, and a control queue: VIO_DEV_QUEUES */
enum { VIO_LINK_ALL = 127 };		/* every VIO_LINK_* offload */

/* The loops outlive the link. */
struct vio_link_place { struct vio_loop *const *loops; unsigned loop_count; };

/* The network is there, or is not; the operator lets the guest have it, or does not.  Home thread; tells the user. */
void vio_link_set(struct vio_link *l, bool carrier, bool cut);

/* Something that an operator should read about a running link: one sentence (home thread). */
typedef void vio_link_say_fn(void *arg, const char *sentence);

/* ---- Twins ---- */

/*
 * Source and sink, to measure what is around them: every frame sent is copied into private memory and forgotten; with
 * size > 0 as many frames of that size as are asked for come out of private memory.
 */
struct vio_link *vio_link_null_open(unsigned lanes, uint32_t size);

/*
 * Two links back to back, in one thread: what is sent on a lane of the one is delivered by the same lane of the other.  A lane
 * holds so many frames (a power of two); then there is no room until the other side has received.  False: no memory.
 */
bool vio_link_pair_open(unsigned lanes, unsigned frames, unsigned takes, struct vio_link *end[2]);
/* As if the cable were pulled out, or plugged in: both ends are told. */
void vio_link_pair_set(struct vio_link *end, bool up);

/* Wraps another link and closes it with itself.  All lanes live in one thread. */
struct vio_link_faults {
	unsigned full_every;		/* every n-th send of a lane finds no room; ready() comes by vio_link_faulty_release() */
	unsigned drop_every;		/* every n-th send is lost */
	unsigned late_every;		/* every n-th receive delivers nothing; ready() comes by vio_link_faulty_release() */
	bool no_lane;			/* there is no memory for a lane */
};
struct vio_link *vio_link_faulty_open(struct vio_link *inner, const struct vio_link_faults *f);
void vio_link_faulty_release(struct vio_link *l);	/* ready() for each lane that waits */

/* ---- Wrappers ---- */

/*
 * Writes a copy of every frame in both directions to fd (ours from now on) as nanosecond pcap: at most snap bytes of each.
 * NULL: why has a sentence, and the inner link is still open and the caller's.
 */
struct vio_link *vio_link_pcap_open(struct vio_link *inner, int fd, uint32_t snap, struct vio_link_place place,
    vio_link_say_fn *say, void *say_arg, char *why);

/* ---- The world ---- */

struct vio_link_tap_options {
	const char *name;		/* of a tap that is there, or is made and goes with us; NULL: fds */
	const int *fds;			/* taps that somebody has opened, one a lane; ours from now on, also in failure */
	unsigned lanes;			/* with fds: how many of them */
	struct vio_link_place place;
};
struct vio_link *vio_link_tap_open(const struct vio_link_tap_options *o, char *why);

/* A packet socket on an interface of the host: what comes in there is received, what is sent goes out there. */
struct vio_link_interface_options {
	const char *name;
	unsigned lanes;
	struct vio_link_place place;
};
struct vio_link *vio_link_interface_open(const struct vio_link_interface_options *o, char *why);

/*
 * Frames over a Unix socket: a stream with a 32-bit big-endian length before each frame (passt; QEMU's -netdev stream), or
 * datagrams and packets without.  One stream for all lanes, of which the first receives; they live in one loop.
 */
struct vio_link_socket_options {
	const char *path;		/* who listens there is connected to, again and again when it goes; NULL: fd */
	int fd;				/* connected; ours from now on, also in failure */
	unsigned lanes;			/* more than one only with one loop; 0: 1 */
	struct vio_link_place place;
	vio_link_say_fn *say;		/* the other end has gone, or is back; may be NULL */
	void *say_arg;
	const char *gone;		/* what to say then; NULL: a sentence about the socket */
};
struct vio_link *vio_link_socket_open(const struct vio_link_socket_options *o, char *why);

static inline void vio_link_close(struct vio_link *l) { if (l) l->ops->close(l); }
VIO_END_DECLS
#endif
