/* Records over a channel. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vmm/stream.h>

static const char magic[8] = { 'V', 'I', 'O', 'S', 'T', 'A', 'T', 'E' };
struct head { char magic[8]; vio_le32 version, arch; };

/* ---- CRC-32C, eight bytes at a step ---- */

enum { POLYNOMIAL = 0x82f63b78 };	/* reflected */
static uint32_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t v = i;
		for (unsigned k = 0; k < 8; k++)
			v = v >> 1 ^ (v & 1 ? (uint32_t)POLYNOMIAL : 0);
		table[0][i] = v;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (unsigned k = 1; k < 8; k++)
			table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 255];
}

uint32_t vmm_crc(uint32_t crc, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;

	pthread_once(&once, make_table);
	crc = ~crc;
	for (; n >= 8; n -= 8, p += 8) {
		vio_le64 word;
		memcpy(&word, p, 8);
		uint64_t v = vio_le64_get(word) ^ crc;
		crc = table[7][v & 255] ^ table[6][v >> 8 & 255] ^ table[5][v >> 16 & 255] ^ table[4][v >> 24 & 255] ^
		    table[3][v >> 32 & 255] ^ table[2][v >> 40 & 255] ^ table[1][v >> 48 & 255] ^ table[0][v >> 56];
	}
	while (n--)
		crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
	return ~crc;
}

/* ---- Writing ---- */

static bool fail(char *to, const struct vio_channel *c, const char *what, ssize_t error)
{
	if (c->why[0])
		return vio_refuse(to, "%s: %s", what, c->why);
	return vio_refuse(to, "%s: %s", what, error ? strerror((int)-error) : "the other end has closed it");
}

static bool write_all(struct vmm_out *o, const unsigned char *from, size_t n)
{
	while (n && !o->failed) {
		ssize_t done = o->channel->ops->write(o->channel, from, n);
		if (done <= 0) {
			o->failed = true;
			fail(o->why, o->channel, "the state could not be written", done);
			break;
		}
		from += done;
		n -= (size_t)done;
		o->bytes += (uint64_t)done;
	}
	return !o->failed;
}

bool vmm_out_flush(struct vmm_out *o)
{
	size_t n = o->used;

	o->used = 0;
	return write_all(o, o->buffer, n);
}

static bool add(struct vmm_out *o, const void *bytes, size_t n)
{
	if (n > sizeof o->buffer - o->used && !vmm_out_flush(o))
		return false;
	if (n > sizeof o->buffer)
		return write_all(o, bytes, n);
	if (n)
		memcpy(o->buffer + o->used, bytes, n);
	o->used += n;
	return !o->failed;
}

void vmm_out_begin(struct vmm_out *o, struct vio_channel *c, uint32_t arch)
{
	struct head h = { .version = vio_le32_of(VMM_STREAM_VERSION), .arch = vio_le32_of(arch) };

	o->channel = c;
	o->bytes = o->used = 0;
	o->failed = false;
	o->why[0] = 0;
	memcpy(h.magic, magic, sizeof magic);
	add(o, &h, sizeof h);
}

bool vmm_out_put(struct vmm_out *o, uint32_t kind, uint32_t instance, const void *head, size_t head_n, const void *bytes, size_t n)
{
	struct vmm_record r = { vio_le32_of(kind), vio_le32_of(instance), vio_le32_of((uint32_t)(head_n + n)), vio_le32_of(0) };

	if (head_n + n > VMM_RECORD_MAX) {
		o->failed = true;
		return vio_refuse(o->why, "the state has a part of %zu bytes, more than a record holds", head_n + n);
	}
	uint32_t crc = vmm_crc(0, &r, offsetof(struct vmm_record, checksum));
	r.checksum = vio_le32_of(vmm_crc(vmm_crc(crc, head, head_n), bytes, n));
	return add(o, &r, sizeof r) && add(o, head, head_n) && add(o, bytes, n);
}

/* ---- Reading ---- */

static bool read_all(struct vmm_in *i, void *to, size_t n)
{
	unsigned char *at = to;

	while (n) {
		ssize_t got = i->channel->ops->read(i->channel, at, n);
		if (got <= 0)
			return fail(i->why, i->channel, got ? "the state could not be read" : "the state is cut short", got);
		at += got;
		n -= (size_t)got;
		i->bytes += (uint64_t)got;
	}
	return true;
}

bool vmm_in_begin(struct vmm_in *i, struct vio_channel *c, uint32_t arch)
{
	struct head h;

	*i = (struct vmm_in){ .channel = c, .data = malloc(VMM_RECORD_MAX) };
	if (!i->data)
		return vio_refuse(i->why, "there is no memory to read a state");
	if (!read_all(i, &h, sizeof h))
		return false;
	if (memcmp(h.magic, magic, sizeof magic))
		return vio_refuse(i->why, "this is no state of a machine");
	if (vio_le32_get(h.version) != VMM_STREAM_VERSION)
		return vio_refuse(i->why, "the state is of version %u, and this vio reads version %d: use the vio that wrote it",
		    vio_le32_get(h.version), VMM_STREAM_VERSION);
	if (vio_le32_get(h.arch) != arch)
		return vio_refuse(i->why, "the state is of a machine of another architecture");
	return true;
}

bool vmm_in_next(struct vmm_in *i)
{
	struct vmm_record r;

	if (!read_all(i, &r, sizeof r))
		return false;
	i->kind = vio_le32_get(r.kind);
	i->instance = vio_le32_get(r.instance);
	i->length = vio_le32_get(r.length);
	if (!i->kind || i->kind >= VMM_RECORD_KINDS || i->length > VMM_RECORD_MAX)
		return vio_refuse(i->why, "the state has a record that can't be: it was damaged, or is not a state");
	if (!read_all(i, i->data, i->length))
		return false;
	uint32_t crc = vmm_crc(vmm_crc(0, &r, offsetof(struct vmm_record, checksum)), i->data, i->length);
	if (crc != vio_le32_get(r.checksum))
		return vio_refuse(i->why, "the state was damaged: a checksum does not fit");
	return true;
}

void vmm_in_free(struct vmm_in *i)
{
	free(i->data);
	i->data = NULL;
}
