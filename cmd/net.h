/*
 * What the files of `vio net`, `vio slirp` and `vio switch` share: port forwards as they are written, Ethernet addresses, and
 * the helper process that runs user-mode networking.
 */
#ifndef VIO_CMD_NET_H
#define VIO_CMD_NET_H
#include "daemon.h"
#include <netinet/in.h>
#include <vio/host/link.h>

/* A port of the host that leads to a port of the guest: "tcp:8080:80", "udp:192.0.2.1:5353:53". */
struct vio_forward {
	bool udp;
	struct in_addr host;		/* 127.0.0.1 unless said */
	uint16_t host_port, guest_port;
};
bool vio_forward_parse(const char *text, struct vio_forward *f, char *why);

/* "10.0.2.0/24"; false when it is not a network with room for the router, a name server and a guest. */
bool vio_network_parse(const char *text, struct in_addr *network, struct in_addr *mask);

/* "52:54:00:12:34:56", of one station. */
bool vio_mac_parse(const char *text, unsigned char mac[6]);

/* ---- User-mode networking: the program once more, as vio slirp, behind a packet socket ---- */

struct vio_user_options {
	const struct vio_opt_word *forwards;
	const char *network, *hostname;	/* NULL: what vio slirp takes by itself */
	uint16_t mtu;			/* 0: 1500 */
	bool restricted, no_ipv6, verbose, no_sandbox;
};
struct vio_user {
	int fd;				/* the packet socket; who opens a link on it takes it */
	int control;			/* requests: one message each, answered by an empty one or a sentence */
	int process;			/* pidfd; -1: this kernel has none */
};
/* It runs and is confined when this returns.  False: why has a sentence. */
bool vio_user_start(struct vio_user *u, const struct vio_user_options *o, char *why);
/* "add tcp:8080:80", "remove tcp:8080:80" */
bool vio_user_ask(struct vio_user *u, const char *request, char *why);
/* The packet socket is closed: wait for its end (not for ever), close the rest. */
void vio_user_end(struct vio_user *u);

enum { VIO_SLIRP_FORWARD_MAX = 128 };

/* ---- The control socket ---- */

/* One pair's counters, as an object. */
struct json_t *vio_net_pair_stats(const struct vio_dev *d, unsigned pair);
#endif
