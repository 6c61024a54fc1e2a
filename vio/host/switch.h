/*
 * A learning switch between guests of one process: each port is a link (vio/backend/link.h) for a network device.
 *
 *     device A ── send(frame) ──▶ port ─┬─ known address ──▶ deliver_now() ──▶ device B      one copy, from guest to guest
 *                                       ├─ B has no buffers, or can't now ──▶ backlog ──▶ B's receive()
 *                                       └─ group address, unknown address ──▶ all ports of the VLAN, so many a second
 *
 * A frame is never given back to where it came from.  All ports live in one thread.  What guests can make grow has limits:
 * addresses a port, addresses in all, floods a second, addresses taken over from another port a second, bytes that wait.
 *
 * VLANs: a port has one VLAN for frames without a tag, and a set that it carries with tags.  Each VLAN learns by itself.
 */
#ifndef VIO_HOST_SWITCH_H
#define VIO_HOST_SWITCH_H
#include <vio/host/link.h>
VIO_BEGIN_DECLS

enum { VIO_SWITCH_PORTS = 256, VIO_VLANS = 4096, VIO_VLAN_MIN = 1, VIO_VLAN_MAX = 4094 };
struct vio_vlan_set { uint64_t word[VIO_VLANS / 64]; };
static inline void vio_vlan_add(struct vio_vlan_set *s, unsigned id) { s->word[id / 64] |= UINT64_C(1) << id % 64; }
static inline bool vio_vlan_has(const struct vio_vlan_set *s, unsigned id) { return s->word[id / 64] >> id % 64 & 1; }

struct vio_switch;
struct vio_switch_options {
	uint64_t seed;			/* a guest that knew it could crowd out others' addresses */
	uint32_t age_seconds;		/* an address that was not heard for so long is forgotten; 0: 300 */
	uint64_t (*now)(void);		/* nanoseconds; NULL: the system's */
};
struct vio_switch *vio_switch_new(const struct vio_switch_options *o);	/* NULL: no memory */
void vio_switch_free(struct vio_switch *s);	/* all ports are closed */

struct vio_switch_port_options {
	unsigned lanes;			/* of the link; frames for it come by the first that is on */
	uint16_t vlan;			/* of frames without a tag; 0: 1 */
	struct vio_vlan_set tagged;	/* carried with a tag */
	uint32_t floods;		/* a second, of group and unknown addresses, from this port; 0: any number */
	uint16_t addresses;		/* that may be learned here at a time; 0: 256 */
	uint16_t takeovers;		/* a second: addresses that were another port's.  0: none */
	bool has_mac, locked;		/* this address is this port's alone; and no other may be used here */
	unsigned char mac[6];
	uint16_t mtu;
};
/* NULL: why has a sentence.  vio_link_close() takes the port away. */
struct vio_link *vio_switch_port(struct vio_switch *s, const struct vio_switch_port_options *o, char *why);

struct vio_switch_counts {
	uint64_t in_frames, in_bytes, out_frames, out_bytes;
	uint64_t direct;		/* of out_frames: copied once */
	uint64_t flooded;		/* of in_frames: sent to all */
	uint64_t lost;			/* for this port, without room for it */
	uint64_t limited;		/* from this port: beyond the limit of floods */
	uint64_t strange_source, strange_vlan;	/* from this port: an address, a tag that is not for it to use */
	uint64_t unlearned;		/* from this port: there was no place for the address */
};
struct vio_switch_counts vio_switch_counts(const struct vio_link *port);

/* The addresses known now; stops when each says false. */
struct vio_switch_address { unsigned char mac[6]; uint16_t vlan; const struct vio_link *port; bool fixed; uint32_t age_seconds; };
void vio_switch_each(const struct vio_switch *s, bool (*each)(void *arg, const struct vio_switch_address *a), void *arg);
/* Forget what was learned at a port (NULL: at all of them). */
void vio_switch_forget(struct vio_switch *s, const struct vio_link *port);
VIO_END_DECLS
#endif
