/*
 * A tap: the kernel's network stack behind the device.  One descriptor a lane (IFF_MULTI_QUEUE); each frame has a struct
 * virtio_net_hdr before it, so that checksums and segmentation pass through in both directions as they are.
 *
 * A lane that is off has its queue detached: the kernel spreads what it sends over the queues that somebody reads.
 */
#include <vio/host/link_impl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PIECES = 64 };			/* of a frame that is written from where it lies; others are copied first */
enum { STALE = 4096 };			/* frames for the driver before this one, thrown away when a lane goes on */

struct tap_lane {
	struct vio_link_lane lane;
	struct tap *tap;
	int fd;
	struct vio_loop *loop;
	struct vio_watch watch;
	bool waits_in, waits_out;	/* ready() is owed */
	bool pending;			/* a frame is in bytes that the device had no room for */
	struct vio_frame frame;
	uint32_t length;
	struct virtio_net_hdr header;
	unsigned char *bytes;		/* VIO_FRAME_MAX; the second half is for sending */
};

struct tap {
	struct vio_link link;
	struct vio_link_place place;
	char name[IFNAMSIZ];
	bool vnet;			/* frames have headers */
	bool multi_queue;
	int index;			/* of the interface; 0: not known here */
	struct vio_watch changes;	/* netlink; fd -1 */
	int fd[VIO_LINK_LANES];
};

/* ---- A lane ---- */

static bool tap_watch(struct tap_lane *t, uint32_t more)
{
	/* Edge-triggered: told once after a read or write has found nothing to do, without a system call to ask for it. */
	t->watch.events = EPOLLIN | EPOLLET | more;
	return vio_loop_watch(t->loop, &t->watch);
}

static void on_ready(struct vio_watch *w, uint32_t events)
{
	struct tap_lane *t = w->arg;
	bool in = t->waits_in && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)), out = t->waits_out && (events & (EPOLLOUT | EPOLLERR));
	if (in)
		t->waits_in = false;
	if (out) {
		t->waits_out = false;
		tap_watch(t, 0);
	}
	if (in || out)
		t->lane.ready(t->lane.arg);
}

/* The frame in pieces, or when it has too many, copied into one. */
static unsigned pieces_of(struct tap_lane *t, struct vio_cur bytes, struct vio_seg *to)
{
	uint64_t n, length = bytes.left;
	unsigned pieces = vio_cur_segs(&bytes, to, PIECES, length, &n);
	if (n == length)
		return pieces;
	to[0] = (struct vio_seg){ t->bytes + VIO_FRAME_MAX, length };
	vio_cur_get(&bytes, to[0].base, length);
	return 1;
}

static enum vio_sent tap_send(struct vio_link_lane *l, const struct vio_frame *f, struct vio_cur bytes)
{
	struct tap_lane *t = (struct tap_lane *)l;
	struct virtio_net_hdr h;
	struct vio_seg v[1 + PIECES] = { { &h, sizeof h } };
	ssize_t r;
	if (bytes.left > VIO_FRAME_MAX || vio_link_is_cut(&t->tap->link))
		return VIO_SENT_DROPPED;
	vio_link_to_vnet(&h, f);
	unsigned n = pieces_of(t, bytes, v + 1), from = !t->tap->vnet;
	do
		r = writev(t->fd, (const struct iovec *)(v + from), (int)(n + 1 - from));
	while (r < 0 && errno == EINTR);
	if (r >= 0 || errno != EAGAIN)
		return r >= 0 ? VIO_SENT : VIO_SENT_DROPPED;
	t->waits_out = true;
	return tap_watch(t, EPOLLOUT) ? VIO_SENT_NO_ROOM : VIO_SENT_DROPPED;
}

/* A frame into t->bytes.  False: there is none. */
static bool fetch(struct tap_lane *t)
{
	struct iovec v[2] = { { &t->header, sizeof t->header }, { t->bytes, VIO_FRAME_MAX } };
	unsigned from = !t->tap->vnet, header = from ? 0 : sizeof t->header;
	for (;;) {
		ssize_t r = readv(t->fd, v + from, (int)(2 - from));
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return false;
		t->length = (uint32_t)((size_t)r > header ? (size_t)r - header : 0);
		t->frame = (struct vio_frame){ 0 };
		if (t->length && (from || vio_link_from_vnet(&t->frame, &t->header, t->length)))
			return true;
	}
}

static unsigned tap_receive(struct vio_link_lane *l, unsigned most)
{
	struct tap_lane *t = (struct tap_lane *)l;
	unsigned done = 0;
	for (; done < most; done++) {
		if (!t->pending && !fetch(t)) {
			t->waits_in = true;
			break;
		}
		struct vio_seg seg = { t->bytes, t->length };
		t->pending = !vio_link_deliver(&t->tap->link, l, &t->frame, (struct vio_cur){ .seg = &seg, .left = t->length });
		if (t->pending)
			break;
	}
	return done;
}

static void tap_offloads(struct vio_link_lane *l, unsigned deliver)
{
	struct tap_lane *t = (struct tap_lane *)l;
	if (t->tap->vnet)	/* probed at open: what takes has, the kernel knows */
		ioctl(t->fd, TUNSETOFFLOAD, (unsigned long)vio_link_tun_offloads(deliver & t->tap->link.takes));
}

static void attach(const struct tap *tap, int fd, bool on)
{
	struct ifreq r = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };
	if (tap->multi_queue)
		ioctl(fd, TUNSETQUEUE, &r);	/* fails where it is so already */
}

static void tap_enable(struct vio_link_lane *l, bool on)
{
	struct tap_lane *t = (struct tap_lane *)l;
	t->pending = t->waits_out = false;
	t->waits_in = on;
	if (!on) {
		vio_loop_unwatch(t->loop, &t->watch);
		attach(t->tap, t->fd, false);
		return;
	}
	attach(t->tap, t->fd, true);
	for (unsigned i = 0; i < STALE && read(t->fd, t->bytes, VIO_FRAME_MAX) >= 0; i++)
		;
	tap_watch(t, 0);	/* can't fail: open has tried */
}

static void tap_lane_close(struct vio_link_lane *l)
{
	free(((struct tap_lane *)l)->bytes);
	free(l);
}

static const struct vio_link_lane_ops lane_ops = {
	.enable = tap_enable, .send = tap_send, .receive = tap_receive, .offloads = tap_offloads, .close = tap_lane_close,
};

static struct vio_link_lane *tap_lane(struct vio_link *l, unsigned pair)
{
	struct tap *tap = (struct tap *)l;
	struct tap_lane *t = pair < l->lanes ? calloc(1, sizeof *t) : NULL;
	if (!t)
		return NULL;
	*t = (struct tap_lane){ .lane.ops = &lane_ops, .tap = tap, .fd = tap->fd[pair],
		.loop = tap->place.loops[pair % tap->place.loop_count], .bytes = malloc(2 * (size_t)VIO_FRAME_MAX) };
	t->watch = (struct vio_watch){ .fd = t->fd, .ready = on_ready, .arg = t };
	if (t->bytes && tap_watch(t, 0)) {
		vio_loop_unwatch(t->loop, &t->watch);	/* it can be watched, then */
		return &t->lane;
	}
	free(t->bytes);
	free(t);
	return NULL;
}

/* ---- The link: what the kernel says of the interface ---- */

static void on_message(struct tap *tap, struct nlmsghdr *m)
{
	struct ifinfomsg *info = NLMSG_DATA(m);
	if ((m->nlmsg_type != RTM_NEWLINK && m->nlmsg_type != RTM_DELLINK) || m->nlmsg_len < NLMSG_LENGTH(sizeof *info)
	    || info->ifi_index != tap->index)
		return;
	vio_link_set(&tap->link, m->nlmsg_type == RTM_NEWLINK && (info->ifi_flags & IFF_UP), tap->link.cut);
}

static void on_change(struct vio_watch *w, uint32_t events)
{
	char buffer[8192] __attribute__((aligned(__alignof__(struct nlmsghdr))));
	ssize_t n;
	(void)events;
	while ((n = recv(w->fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
		unsigned left = (unsigned)n;
		for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left))
			on_message(w->arg, m);
	}
}

/* Not vital: without it the guest is not told when the interface goes down. */
static void watch_changes(struct tap *tap)
{
	struct sockaddr_nl at = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (fd < 0)
		return;
	tap->changes = (struct vio_watch){ .fd = fd, .events = EPOLLIN, .ready = on_change, .arg = tap };
	if (!bind(fd, (struct sockaddr *)&at, sizeof at) && vio_loop_watch(tap->place.loops[0], &tap->changes))
		return;
	close(fd);
	tap->changes.fd = -1;
}

/* The interface as it is now; raise: it is ours, bring it up. */
static void look(struct tap *tap, bool raise)
{
	struct ifreq r = { 0 }, own = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(r.ifr_name, tap->name, IFNAMSIZ);
	/* A descriptor may come from another network namespace, where the name is somebody else's. */
	bool ours = fd >= 0 && !ioctl(fd, SIOCGIFHWADDR, &r) && !ioctl(tap->fd[0], SIOCGIFHWADDR, &own)
	    && !memcmp(r.ifr_hwaddr.sa_data, own.ifr_hwaddr.sa_data, 6);
	if (ours && !ioctl(fd, SIOCGIFFLAGS, &r)) {
		if (raise && !(r.ifr_flags & IFF_UP)) {
			r.ifr_flags |= IFF_UP;
			ioctl(fd, SIOCSIFFLAGS, &r);
		}
		tap->link.up = tap->link.carrier = r.ifr_flags & IFF_UP;
	}
	if (ours && !ioctl(fd, SIOCGIFMTU, &r))
		tap->link.mtu = r.ifr_mtu > 0 && r.ifr_mtu <= UINT16_MAX ? (uint16_t)r.ifr_mtu : UINT16_MAX;
	if (ours && !ioctl(fd, SIOCGIFINDEX, &r))
		tap->index = r.ifr_ifindex;
	if (fd >= 0)
		close(fd);
}

static void tap_close(struct vio_link *l)
{
	struct tap *tap = (struct tap *)l;
	if (tap->changes.fd >= 0) {
		vio_loop_unwatch(tap->place.loops[0], &tap->changes);
		close(tap->changes.fd);
	}
	for (unsigned i = 0; i < VIO_LINK_LANES; i++)
		if (tap->fd[i] >= 0)
			close(tap->fd[i]);
	free(tap);
}

static const struct vio_link_ops ops = { .lane = tap_lane, .close = tap_close };

/* ---- Opening ---- */

static bool refuse_name(const char *name, int error, char *why)
{
	if (error == EPERM || error == EACCES)
		return vio_refuse(why, "may not use the tap %s: %s; start as root, or let root make it for this user: "
		    "ip tuntap add dev %s mode tap user NAME", name, strerror(error), name);
	if (error == EBUSY)
		return vio_refuse(why, "the tap %s is in use, or another kind of interface has that name: choose another", name);
	if (error == EINVAL)
		return vio_refuse(why, "the tap %s has one queue where several are wanted, or is no tap: make it with "
		    "ip tuntap add dev %s mode tap multi_queue, or choose --queues=1", name, name);
	return vio_refuse(why, "cannot use the tap %s: %s; is the name one that an interface may have?", name, strerror(error));
}

/* A queue of the tap called name: a descriptor, or -1 with errno. */
static int open_queue(struct tap *tap, const char *name, short flags)
{
	struct ifreq r = { .ifr_flags = flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	memcpy(r.ifr_name, name, strlen(name));
	if (fd < 0)
		return -1;
	if (ioctl(fd, TUNSETIFF, &r)) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	memcpy(tap->name, r.ifr_name, IFNAMSIZ);
	return fd;
}

static bool open_named(struct tap *tap, const struct vio_link_tap_options *o, char *why)
{
	short flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (strlen(o->name) >= IFNAMSIZ)
		return vio_refuse(why, "the name %s is longer than an interface's may be: at most %d characters", o->name, IFNAMSIZ - 1);
	if (access("/dev/net/tun", F_OK))
		return vio_refuse(why, "this kernel has no taps (/dev/net/tun: %s): modprobe tun", strerror(errno));
	bool made = !if_nametoindex(o->name);
	tap->multi_queue = o->lanes > 1;
	tap->fd[0] = open_queue(tap, o->name, (short)(flags | (tap->multi_queue ? IFF_MULTI_QUEUE : 0)));
	if (tap->fd[0] < 0 && errno == EINVAL && !tap->multi_queue) {	/* one of several queues is as good as one */
		tap->multi_queue = true;
		tap->fd[0] = open_queue(tap, o->name, (short)(flags | IFF_MULTI_QUEUE));
	}
	if (tap->fd[0] < 0)
		return refuse_name(o->name, errno, why);
	for (unsigned i = 1; i < o->lanes; i++) {
		tap->fd[i] = open_queue(tap, tap->name, (short)(flags | IFF_MULTI_QUEUE));
		if (tap->fd[i] < 0)
			return vio_refuse(why, "cannot open queue %u of the tap %s: %s; choose a smaller --queues", i + 1, o->name, strerror(errno));
	}
	tap->vnet = true;
	look(tap, made);
	return true;
}

static bool take_given(struct tap *tap, const struct vio_link_tap_options *o, char *why)
{
	tap->vnet = true;
	for (unsigned i = 0; i < o->lanes; i++) {
		struct ifreq r = { 0 };
		int fd = tap->fd[i] = o->fds[i], flags = fcntl(fd, F_GETFL);
		if (flags < 0 || ioctl(fd, TUNGETIFF, &r) || !(r.ifr_flags & IFF_TAP) || !(r.ifr_flags & IFF_NO_PI))
			return vio_refuse(why, "descriptor %d is not a tap (IFF_TAP and IFF_NO_PI): pass one that is, by --tap-fd", fd);
		if (i && memcmp(tap->name, r.ifr_name, IFNAMSIZ))
			return vio_refuse(why, "descriptors %d and %d are of different taps: pass queues of one", o->fds[0], fd);
		memcpy(tap->name, r.ifr_name, IFNAMSIZ);
		tap->vnet &= (r.ifr_flags & IFF_VNET_HDR) != 0;
		tap->multi_queue = r.ifr_flags & IFF_MULTI_QUEUE;
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
	look(tap, false);
	return true;
}

/* Which offloads does this kernel know? */
static void probe(struct tap *tap)
{
	static const unsigned sets[] = { VIO_LINK_ALL, VIO_LINK_ALL & ~(VIO_LINK_USO4 | VIO_LINK_USO6),
		VIO_LINK_CSUM | VIO_LINK_TSO4 | VIO_LINK_TSO6 | VIO_LINK_ECN, VIO_LINK_CSUM };
	int size = sizeof(struct virtio_net_hdr);
	for (unsigned i = 0; i < VIO_LINK_LANES && tap->fd[i] >= 0; i++)
		if (ioctl(tap->fd[i], TUNSETVNETHDRSZ, &size))
			return;
	for (unsigned i = 0; i < sizeof sets / sizeof *sets && !tap->link.takes; i++)
		if (!ioctl(tap->fd[0], TUNSETOFFLOAD, (unsigned long)sets[i]))
			tap->link.takes = sets[i];
	ioctl(tap->fd[0], TUNSETOFFLOAD, 0ul);
}

struct vio_link *vio_link_tap_open(const struct vio_link_tap_options *o, char *why)
{
	struct tap *tap = calloc(1, sizeof *tap);
	if (!tap) {
		vio_refuse(why, "there is no memory left for a tap");
		return NULL;
	}
	for (unsigned i = 0; i < VIO_LINK_LANES; i++)
		tap->fd[i] = -1;
	tap->changes.fd = -1;
	tap->place = o->place;
	tap->link = (struct vio_link){ .ops = &ops, .lanes = o->lanes, .up = true, .carrier = true, .speed = UINT32_MAX, .duplex = 0xff };
	if (!(o->name ? open_named(tap, o, why) : take_given(tap, o, why))) {
		tap_close(&tap->link);
		return NULL;
	}
	if (tap->vnet)
		probe(tap);
	if (tap->index)
		watch_changes(tap);
	for (unsigned i = 0; i < o->lanes; i++)
		attach(tap, tap->fd[i], false);
	return &tap->link;
}
