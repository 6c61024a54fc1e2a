/*
 * The config space by accesses as wide as its fields (4.1.3.1, 4.2.2.2), for the drivers' ends of wires that have registers: not for
 * users of the library.  Of what is read or written 2, 4 and 8 bytes are one field, 8 in two halves; any other number are bytes.
 */
#ifndef VIO_TRANSPORT_CONFIG_H
#define VIO_TRANSPORT_CONFIG_H
#include <vio/driver/port.h>
#include <vio/ring/freestanding.h>
VIO_BEGIN_DECLS

enum { VIO_CONFIG_BYTES_MAX = 65536 };	/* more than any device has */

/* One access of width 1, 2 or 4; host order. */
typedef uint32_t vio_config_get_fn(struct vio_drv_port *p, uint32_t at, unsigned width);
typedef void vio_config_put_fn(struct vio_drv_port *p, uint32_t at, unsigned width, uint32_t v);

static inline unsigned vio_config_width(uint32_t len) { return len == 2 ? 2 : len == 4 || len == 8 ? 4 : 1; }

/* Does [at, at + len) lie in a config space of so many bytes? */
static inline bool vio_config_has(uint64_t bytes, uint32_t at, uint32_t len)
{
	if (bytes > VIO_CONFIG_BYTES_MAX)
		bytes = VIO_CONFIG_BYTES_MAX;
	return len <= bytes && at <= bytes - len;
}

/* False: there is no such place, and zeroes are read. */
static inline bool vio_config_get(struct vio_drv_port *p, vio_config_get_fn *get, uint64_t bytes, uint32_t at, void *to, uint32_t len)
{
	unsigned char *byte = (unsigned char *)to;
	unsigned width = vio_config_width(len);

	if (!vio_config_has(bytes, at, len)) {
		memset(to, 0, len);
		return false;
	}
	for (uint32_t i = 0; i < len; i += width) {
		uint32_t v = get(p, at + i, width);
		for (unsigned k = 0; k < width; k++)
			byte[i + k] = (unsigned char)(v >> 8 * k);
	}
	return true;
}

static inline bool vio_config_put(struct vio_drv_port *p, vio_config_put_fn *put, uint64_t bytes, uint32_t at, const void *from,
    uint32_t len)
{
	const unsigned char *byte = (const unsigned char *)from;
	unsigned width = vio_config_width(len);

	if (!vio_config_has(bytes, at, len))
		return false;
	for (uint32_t i = 0; i < len; i += width) {
		uint32_t v = 0;
		for (unsigned k = 0; k < width; k++)
			v |= (uint32_t)byte[i + k] << 8 * k;
		put(p, at + i, width, v);
	}
	return true;
}
VIO_END_DECLS
#endif
