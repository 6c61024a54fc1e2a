/* A network device's figures for the control socket, a pair of queues at a time. */
#include "control.h"
#include "net.h"
#include <stddef.h>
#include <vio/device/net.h>

#define FIGURE(name) { #name, offsetof(struct vio_net_dev_counts, name) }
static const struct { const char *name; size_t at; } figures[] = {
	FIGURE(rx_frames), FIGURE(rx_bytes), FIGURE(rx_dropped), FIGURE(rx_filtered), FIGURE(rx_overruns), FIGURE(rx_gso),
	FIGURE(tx_frames), FIGURE(tx_bytes), FIGURE(tx_dropped), FIGURE(tx_malformed), FIGURE(tx_gso), FIGURE(tx_segments),
};

struct json_t *vio_net_pair_stats(const struct vio_dev *d, unsigned pair)
{
	struct vio_net_dev_counts c = vio_net_dev_counts(d, pair);
	json_t *o = json_object();
	for (unsigned i = 0; i < sizeof figures / sizeof *figures; i++) {
		const uint64_t *n = (const uint64_t *)(const void *)((const char *)&c + figures[i].at);
		json_object_set_new(o, figures[i].name, json_integer((json_int_t)*n));
	}
	return o;
}
