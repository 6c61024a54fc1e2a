/*
 * Streams of machine states (vmm/stream.h) of any content: read to their end, or refused in words, in pieces of any length; and what
 * was written comes back.
 */
#include <stdio.h>
#include "../vmm/stream.c"
#include "feed.h"

enum { ROOM = 1 << 17 };

/* A channel over bytes, a few at a time, which may fail. */
struct pipe {
	struct vio_channel c;
	unsigned char *bytes;
	size_t used, at, fails_at;
	struct feed *f;
};

static size_t piece(struct pipe *p, size_t n)
{
	size_t most = fed(p->f) ? 1 + (size_t)take(p->f, 1) : n;
	return most < n ? most : n;
}

static ssize_t pipe_read(struct vio_channel *c, void *to, size_t n)
{
	struct pipe *p = (struct pipe *)c;

	if (p->at >= p->fails_at)
		return -EIO;
	n = piece(p, n);
	if (n > p->used - p->at)
		n = p->used - p->at;
	memcpy(to, p->bytes + p->at, n);
	p->at += n;
	return (ssize_t)n;
}

static ssize_t pipe_write(struct vio_channel *c, const void *from, size_t n)
{
	struct pipe *p = (struct pipe *)c;

	if (p->used >= p->fails_at)
		return -EIO;
	n = piece(p, n);
	if (n > ROOM - p->used)
		return -ENOSPC;
	memcpy(p->bytes + p->used, from, n);
	p->used += n;
	return (ssize_t)n;
}

static const struct vio_channel_ops ops = { pipe_read, pipe_write, NULL, NULL };

/* To its end, whatever it is. */
static void read_it(struct pipe *p, uint32_t arch)
{
	struct vmm_in in;

	if (vmm_in_begin(&in, &p->c, arch))
		while (vmm_in_next(&in)) {
			uint32_t sum = 0;
			for (uint32_t i = 0; i < in.length; i++)
				sum += in.data[i];
			if (in.kind == 0 || in.kind >= VMM_RECORD_KINDS || (sum && !in.length))
				abort();
		}
	if (!in.why[0])
		abort();		/* nothing ends without a word: END is the caller's to see */
	if (in.bytes != p->at)
		abort();
	vmm_in_free(&in);
}

static void write_and_read(struct pipe *p)
{
	static struct vmm_out out;
	static unsigned char head[64], body[4096], kinds[256];
	unsigned n = 0;

	vmm_out_begin(&out, &p->c, VMM_STREAM_X86);
	size_t lengths[256][2];
	while (fed(p->f) && n < 256) {
		lengths[n][0] = (size_t)take(p->f, 1) % sizeof head;
		lengths[n][1] = (size_t)take(p->f, 2) % sizeof body;
		kinds[n] = (unsigned char)(1 + take(p->f, 1) % (VMM_RECORD_KINDS - 1));
		memset(head, kinds[n], lengths[n][0]);
		memset(body, (int)n, lengths[n][1]);
		if (!vmm_out_put(&out, kinds[n], n, head, lengths[n][0], body, lengths[n][1]))
			break;
		n++;
	}
	if (!vmm_out_flush(&out) || out.failed) {
		if (!out.why[0])
			abort();
		return;
	}
	struct vmm_in in;
	p->fails_at = SIZE_MAX;
	if (!vmm_in_begin(&in, &p->c, VMM_STREAM_X86))
		abort();
	for (unsigned i = 0; i < n; i++) {
		if (!vmm_in_next(&in) || in.kind != kinds[i] || in.instance != i || in.length != lengths[i][0] + lengths[i][1])
			abort();
		for (uint32_t k = 0; k < in.length; k++)
			if (in.data[k] != (k < lengths[i][0] ? kinds[i] : (unsigned char)i))
				abort();
	}
	if (vmm_in_next(&in))
		abort();
	vmm_in_free(&in);
}

/* Checksums made right, so that what is behind them is looked at too. */
static void mend(unsigned char *bytes, size_t n)
{
	size_t at = sizeof(struct head);

	while (n >= at && n - at >= sizeof(struct vmm_record)) {
		struct vmm_record r;
		memcpy(&r, bytes + at, sizeof r);
		size_t left = n - at - sizeof r, length = vio_le32_get(r.length);
		if (length > left)
			return;
		r.checksum = vio_le32_of(vmm_crc(vmm_crc(0, &r, offsetof(struct vmm_record, checksum)), bytes + at + sizeof r, length));
		memcpy(bytes + at, &r, sizeof r);
		at += sizeof r + length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static unsigned char bytes[ROOM];
	struct feed f = { data, data + n };
	struct pipe p = { .c.ops = &ops, .bytes = bytes, .fails_at = SIZE_MAX, .f = &f };
	uint8_t how = (uint8_t)take(&f, 1);

	if (how & 8)
		p.fails_at = (size_t)take(&f, 2);
	if (how & 1) {
		write_and_read(&p);
		return 0;
	}
	if (how & 2) {
		struct head h = { .version = vio_le32_of(VMM_STREAM_VERSION), .arch = vio_le32_of(VMM_STREAM_ARM64) };
		memcpy(h.magic, magic, sizeof magic);
		memcpy(bytes, &h, sizeof h);
		p.used = sizeof h;
	}
	size_t rest = (size_t)(f.end - f.at);
	if (rest > ROOM - p.used)
		rest = ROOM - p.used;
	memcpy(bytes + p.used, f.at, rest);
	p.used += rest;
	f.at = f.end;
	if (how & 4)
		mend(bytes, p.used);
	read_it(&p, VMM_STREAM_ARM64);
	return 0;
}
