/*
 * An interface of the host through a packet socket (AF_PACKET): what comes in there is received, what is sent goes out there.
 * The kernel's own traffic on that interface goes on beside it.
 *
 * Each frame has a struct virtio_net_hdr before it (PACKET_VNET_HDR), so that segmentation passes through.  Several lanes share
 * what comes in by flow (PACKET_FANOUT_HASH).  A VLAN tag that the interface has taken out of a frame is put back.
 */
#include <vio/host/link_impl.h>
#include <linux/virtio_net.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PIECES = 64, MACS = 12, TAG = 4, STALE = 4096 };
enum { RECEIVE_BUFFER = 4 << 20 };

struct eth_lane {
	struct vio_link_lane lane;
	const struct vio_link *link;
	int fd;
	struct vio_loop *loop;
	struct vio_watch watch;
	bool waits_in, waits_out, pending;
	struct vio_frame frame;
	uint32_t length;
	unsigned char *bytes;		/* a tag's room, a received frame, a frame to send in one piece */
	unsigned char *from;		/* where the received one begins */
};

struct eth {
	struct vio_link link;
	struct vio_link_place place;
	int fd[VIO_LINK_LANES];
	int index;
};

static bool eth_watch(struct eth_lane *e, uint32_t more)
{
	e->watch.events = EPOLLIN | EPOLLET | more;
	return vio_loop_watch(e->loop, &e->watch);
}

static void on_ready(struct vio_watch *w, uint32_t events)
{
	struct eth_lane *e = w->arg;
	int error;
	socklen_t n = sizeof error;
	if (events & EPOLLERR)	/* the interface went down: read off, so that it is not told for ever */
		getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &n);
	bool in = e->waits_in && (events & EPOLLIN), out = e->waits_out && (events & EPOLLOUT);
	e->waits_in &= !in;
	e->waits_out &= !out;
	if (out)
		eth_watch(e, 0);
	if (in || out)
		e->lane.ready(e->lane.arg);
}

static enum vio_sent eth_send(struct vio_link_lane *l, const struct vio_frame *f, struct vio_cur bytes)
{
	struct eth_lane *e = (struct eth_lane *)l;
	struct virtio_net_hdr h;
	struct vio_seg v[1 + PIECES] = { { &h, sizeof h } };
	uint64_t n, length = bytes.left;
	if (length > VIO_FRAME_MAX || vio_link_is_cut(e->link))
		return VIO_SENT_DROPPED;
	vio_link_to_vnet(&h, f);
	h.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;	/* it is not for us to say that a checksum has been looked at */
	unsigned pieces = vio_cur_segs(&bytes, v + 1, PIECES, length, &n);
	if (n < length) {
		v[1] = (struct vio_seg){ e->bytes + TAG + VIO_FRAME_MAX, length };
		vio_cur_get(&bytes, v[1].base, length);
		pieces = 1;
	}
	ssize_t r;
	do
		r = writev(e->fd, (const struct iovec *)v, (int)pieces + 1);
	while (r < 0 && errno == EINTR);
	if (r >= 0 || (errno != EAGAIN && errno != ENOBUFS))
		return r >= 0 ? VIO_SENT : VIO_SENT_DROPPED;
	if (errno == ENOBUFS)	/* the interface's queue is full; nobody tells when it is not */
		return VIO_SENT_DROPPED;
	e->waits_out = true;
	return eth_watch(e, EPOLLOUT) ? VIO_SENT_NO_ROOM : VIO_SENT_DROPPED;
}

/* The tag between the addresses and the rest: bytes before the frame are free for that. */
static void put_tag(struct eth_lane *e, const struct tpacket_auxdata *aux)
{
	uint16_t protocol = htons(aux->tp_status & TP_STATUS_VLAN_TPID_VALID ? aux->tp_vlan_tpid : ETH_P_8021Q);
	uint16_t tci = htons(aux->tp_vlan_tci);
	if (e->length < MACS + 2)
		return;
	e->from -= TAG;
	memmove(e->from, e->from + TAG, MACS);
	memcpy(e->from + MACS, &protocol, 2);
	memcpy(e->from + MACS + 2, &tci, 2);
	e->length += TAG;
	e->frame.header = (uint16_t)(e->frame.header ? e->frame.header + TAG : 0);
	if (e->frame.flags & VIO_FRAME_NEEDS_CSUM)
		e->frame.csum_start = (uint16_t)(e->frame.csum_start + TAG);
}

static bool fetch(struct eth_lane *e)
{
	struct virtio_net_hdr h;
	union { struct cmsghdr align; char bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))]; } control;
	struct iovec v[2] = { { &h, sizeof h }, { e->bytes + TAG, VIO_FRAME_MAX - TAG } };
	for (;;) {
		struct msghdr m = { .msg_iov = v, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control };
		ssize_t r = recvmsg(e->fd, &m, MSG_DONTWAIT);
		if (r < 0 && (errno == EINTR || errno == ENETDOWN))	/* the latter is told once */
			continue;
		if (r < 0)
			return false;
		e->from = e->bytes + TAG;
		e->length = (uint32_t)((size_t)r > sizeof h ? (size_t)r - sizeof h : 0);
		if (!e->length || m.msg_flags & MSG_TRUNC || !vio_link_from_vnet(&e->frame, &h, e->length))
			continue;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			struct tpacket_auxdata aux;
			if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA || c->cmsg_len < CMSG_LEN(sizeof aux))
				continue;
			memcpy(&aux, CMSG_DATA(c), sizeof aux);
			if (aux.tp_status & TP_STATUS_VLAN_VALID)
				put_tag(e, &aux);
		}
		return true;
	}
}

static unsigned eth_receive(struct vio_link_lane *l, unsigned most)
{
	struct eth_lane *e = (struct eth_lane *)l;
	unsigned done = 0;
	for (; done < most; done++) {
		if (!e->pending && !fetch(e)) {
			e->waits_in = true;
			break;
		}
		struct vio_seg seg = { e->from, e->length };
		e->pending = !vio_link_deliver(e->link, l, &e->frame, (struct vio_cur){ .seg = &seg, .left = e->length });
		if (e->pending)
			break;
	}
	return done;
}

static void eth_enable(struct vio_link_lane *l, bool on)
{
	struct eth_lane *e = (struct eth_lane *)l;
	e->pending = e->waits_out = false;
	e->waits_in = on;
	if (!on) {
		vio_loop_unwatch(e->loop, &e->watch);
		return;
	}
	for (unsigned i = 0; i < STALE && recv(e->fd, e->bytes, 1, MSG_DONTWAIT) >= 0; i++)
		;
	eth_watch(e, 0);	/* can't fail: it has been tried */
}

static void eth_lane_close(struct vio_link_lane *l)
{
	free(((struct eth_lane *)l)->bytes);
	free(l);
}

static const struct vio_link_lane_ops lane_ops = {
	.enable = eth_enable, .send = eth_send, .receive = eth_receive, .close = eth_lane_close,
};

static struct vio_link_lane *eth_lane(struct vio_link *l, unsigned pair)
{
	struct eth *eth = (struct eth *)l;
	struct eth_lane *e = pair < l->lanes ? calloc(1, sizeof *e) : NULL;
	if (!e)
		return NULL;
	*e = (struct eth_lane){ .lane.ops = &lane_ops, .link = l, .fd = eth->fd[pair],
		.loop = eth->place.loops[pair % eth->place.loop_count], .bytes = malloc(TAG + 2 * (size_t)VIO_FRAME_MAX) };
	e->watch = (struct vio_watch){ .fd = e->fd, .ready = on_ready, .arg = e };
	if (e->bytes && eth_watch(e, 0)) {
		vio_loop_unwatch(e->loop, &e->watch);
		return &e->lane;
	}
	free(e->bytes);
	free(e);
	return NULL;
}

/* The guest's address is not the interface's: without this nothing would come in for it.  Ends with the socket. */
static void listen_to_all(struct eth *eth)
{
	struct packet_mreq r = { .mr_ifindex = eth->index, .mr_type = PACKET_MR_PROMISC };
	setsockopt(eth->fd[0], SOL_PACKET, PACKET_ADD_MEMBERSHIP, &r, sizeof r);
}

static void eth_close(struct vio_link *l)
{
	struct eth *eth = (struct eth *)l;
	for (unsigned i = 0; i < VIO_LINK_LANES; i++)
		if (eth->fd[i] >= 0)
			close(eth->fd[i]);
	free(eth);
}

static const struct vio_link_ops ops = { .lane = eth_lane, .close = eth_close };

static bool open_lane(struct eth *eth, const struct vio_link_interface_options *o, unsigned i, char *why)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = eth->index };
	int one = 1, room = RECEIVE_BUFFER, fanout = (int)((unsigned)getpid() & 0xffff) | PACKET_FANOUT_HASH << 16;
	int fd = eth->fd[i] = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return vio_refuse(why, "may not listen to the interface %s: %s; start as root (CAP_NET_RAW), it is given up before serving",
		    o->name, strerror(errno));
	if (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) || setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &one, sizeof one)
	    || setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one))
		return vio_refuse(why, "this kernel's packet sockets can't do what is needed: %s; Linux 4.20 can", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);	/* what the kernel allows of it */
	if (bind(fd, (struct sockaddr *)&at, sizeof at))
		return vio_refuse(why, "cannot listen to the interface %s: %s", o->name, strerror(errno));
	if (o->lanes > 1 && setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &fanout, sizeof fanout))
		return vio_refuse(why, "cannot spread the interface %s over %u queues: %s; use --queues=1", o->name, o->lanes, strerror(errno));
	return true;
}

struct vio_link *vio_link_interface_open(const struct vio_link_interface_options *o, char *why)
{
	struct eth *eth = calloc(1, sizeof *eth);
	struct ifreq r = { 0 };
	if (!eth) {
		vio_refuse(why, "there is no memory left for an interface");
		return NULL;
	}
	for (unsigned i = 0; i < VIO_LINK_LANES; i++)
		eth->fd[i] = -1;
	eth->place = o->place;
	eth->index = (int)if_nametoindex(o->name);
	eth->link = (struct vio_link){ .ops = &ops, .lanes = o->lanes, .up = true, .carrier = true, .speed = UINT32_MAX, .duplex = 0xff,
		.takes = VIO_LINK_CSUM | VIO_LINK_TSO4 | VIO_LINK_TSO6 | VIO_LINK_ECN };
	bool ok = eth->index || vio_refuse(why, "there is no interface %s: ip link lists those there are", o->name);
	for (unsigned i = 0; ok && i < o->lanes; i++)
		ok = open_lane(eth, o, i, why);
	if (!ok) {
		eth_close(&eth->link);
		return NULL;
	}
	strncpy(r.ifr_name, o->name, IFNAMSIZ - 1);
	if (!ioctl(eth->fd[0], SIOCGIFMTU, &r) && r.ifr_mtu > 0)
		eth->link.mtu = r.ifr_mtu <= UINT16_MAX ? (uint16_t)r.ifr_mtu : UINT16_MAX;
	listen_to_all(eth);
	return &eth->link;
}
