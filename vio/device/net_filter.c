/* Which frames the driver wants (virtio 1.4, 5.1.6.5.1 to 5.1.6.5.3). */
#include <vio/device/net_impl.h>

enum { TPID_C = 0x8100, TPID_S = 0x88a8, TAG = 4, TAGS = 2 };

static bool is_tag(uint16_t type) { return type == TPID_C || type == TPID_S; }

unsigned vio_net_dev_ethernet(struct vio_cur bytes)
{
	uint8_t head[VIO_NET_ETH + TAGS * TAG] = { 0 };
	unsigned at = 2 * VIO_NET_MAC;

	vio_cur_get(&bytes, head, bytes.left < sizeof head ? bytes.left : sizeof head);
	for (unsigned i = 0; i < TAGS && is_tag(vio_net_dev_be16(head + at)); i++)
		at += TAG;
	return at + 2;
}

static bool in_table(const struct net_macs *t, const uint8_t *mac)
{
	for (unsigned i = 0; i < t->count; i++)
		if (!memcmp(t->mac[i], mac, VIO_NET_MAC))
			return true;
	return t->overflow;
}

static bool mode(const struct net_rules *r, unsigned which) { return r->modes >> which & 1; }

static bool wants_address(const struct net_rules *r, const uint8_t *to)
{
	static const uint8_t broadcast[VIO_NET_MAC] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (!memcmp(to, broadcast, VIO_NET_MAC))
		return !mode(r, VIO_NET_CTRL_RX_NOBCAST);
	if (to[0] & 1)
		return !mode(r, VIO_NET_CTRL_RX_NOMULTI) && (mode(r, VIO_NET_CTRL_RX_ALLMULTI) || in_table(&r->multicast, to));
	if (mode(r, VIO_NET_CTRL_RX_NOUNI))
		return false;
	return mode(r, VIO_NET_CTRL_RX_ALLUNI) || !r->has_mac || !memcmp(to, r->mac, VIO_NET_MAC) || in_table(&r->unicast, to);
}

bool vio_net_dev_wanted(const struct net *n, const struct net_rules *r, struct vio_cur bytes)
{
	uint8_t head[VIO_NET_ETH + TAG] = { 0 };

	if (mode(r, VIO_NET_CTRL_RX_PROMISC))
		return true;
	vio_cur_get(&bytes, head, bytes.left < sizeof head ? bytes.left : sizeof head);
	if (vio_net_dev_has(n, VIO_NET_F_CTRL_VLAN) && is_tag(vio_net_dev_be16(head + 2 * VIO_NET_MAC))) {
		unsigned id = vio_net_dev_be16(head + VIO_NET_ETH) & (VIO_NET_VLANS - 1);
		if (!(r->vlan[id / 64] >> id % 64 & 1))
			return false;
	}
	return !r->told || wants_address(r, head);
}
