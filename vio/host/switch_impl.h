/* The switch's two halves: which port an address is at (switch_table.c), and the way of a frame (link_switch.c). */
#ifndef VIO_HOST_SWITCH_IMPL_H
#define VIO_HOST_SWITCH_IMPL_H
#include <vio/host/switch.h>
VIO_BEGIN_DECLS

struct switch_port;
enum { SWITCH_SETS = 1024, SWITCH_WAYS = 8 };

/* A place of the table; port NULL: free. */
struct switch_entry {
	struct switch_port *port;
	uint64_t heard;			/* ns; fixed ones are not forgotten */
	unsigned char mac[6];
	uint16_t vlan;
	bool fixed;
};

/* What a port has used of its limits: the time at which all that was done is paid off. */
struct switch_debt { uint64_t paid; };

struct vio_switch {
	uint64_t seed, age;
	uint64_t (*now)(void);
	struct switch_port *ports;
	unsigned count;
	struct switch_entry table[SWITCH_SETS][SWITCH_WAYS];	/* pages are touched when used */
};

struct backlog { unsigned char *bytes; uint64_t in, out; };	/* counted for ever; in - out wait */

struct switch_lane {
	struct vio_link_lane lane;
	struct switch_port *port;
	bool open, on, waits_in;
};
struct switch_port {
	struct vio_link link;
	struct vio_switch *s;
	struct switch_port *next;
	struct vio_switch_port_options o;
	struct vio_switch_counts counts;
	unsigned learned;
	struct switch_debt floods, takeovers, sweeps;
	struct backlog backlog;
	struct switch_lane lane[VIO_LINK_LANES];
};

/* One thing more, of per_second with a burst of so many.  False: not now. */
bool vio_switch_pay(struct switch_debt *d, uint64_t now, uint64_t per_second, uint64_t burst);

/* The frame says that mac is at p.  False: it is not to be believed. */
bool vio_switch_learn(struct vio_switch *s, struct switch_port *p, const unsigned char mac[6], uint16_t vlan, uint64_t now);
/* NULL: not known. */
struct switch_port *vio_switch_find(struct vio_switch *s, const unsigned char mac[6], uint16_t vlan, uint64_t now);
/* mac is p's in this VLAN, for ever.  False: it is another's, or there is no place. */
bool vio_switch_fix(struct vio_switch *s, struct switch_port *p, const unsigned char mac[6], uint16_t vlan);
/* Forget p's addresses, and with all the fixed ones too. */
void vio_switch_drop(struct vio_switch *s, struct switch_port *p, bool all);
VIO_END_DECLS
#endif
