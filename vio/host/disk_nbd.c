/* A disk that an NBD server offers: opening, and what confinement must leave it. */
#include <vio/host/disk_nbd.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vio/host/sandbox.h>
#include <vio/host/why.h>

enum { BLOCK_MIN = 512, BLOCK_MAX = 65536 };
enum { PIECE = 1 << 20 };		/* bytes of a command, if the server takes so many */
enum { PATIENCE_MS = 10000 };		/* for the first connection */

/* ---- The disk ---- */

static struct vio_disk_chan *channel(struct vio_disk *disk, unsigned queue)
{
	struct vio_nbd *d = (struct vio_nbd *)disk;
	struct vio_nbd_conn *c = d->conn[queue % d->conns];

	vio_nbd_conn_use(c);
	return &c->chan;
}

static void disk_close(struct vio_disk *disk)
{
	struct vio_nbd *d = (struct vio_nbd *)disk;

	for (unsigned i = 0; i < d->conns; i++) {
		struct vio_nbd_conn *c = d->conn[i];
		if (!c)
			continue;
		if (c->h)
			d->lib->close(c->h);
		vio_nbd_ring_free(&c->reads);
		vio_nbd_ring_free(&c->writes);
		free(c);
	}
	free(d->export);
	free(d->uri);
	free(d);
}

static const struct vio_disk_ops ops = { .channel = channel, .close = disk_close };

/* ---- Opening ---- */

static bool connect_now(struct vio_nbd *d, struct vio_nbd_conn *c, char *why)
{
	char words[VIO_WHY];
	int left = PATIENCE_MS;

	c->h = vio_nbd_begin(d, words);
	while (c->h && d->lib->aio_is_ready(c->h) <= 0) {
		if (left <= 0 || d->lib->poll(c->h, 100) < 0 || d->lib->aio_is_dead(c->h) > 0 || d->lib->aio_is_closed(c->h) > 0) {
			snprintf(words, sizeof words, "%s", left > 0 ? d->lib->get_error() : "it does not answer");
			d->lib->close(c->h);
			c->h = NULL;
			break;
		}
		left -= 100;		/* or less, if something came */
	}
	if (c->h)
		return true;
	return vio_refuse(why, "the NBD server of %.200s can't be used (%.200s); start it first, and see that it offers this disk", d->uri,
	    words);
}

static bool is_block_size(int64_t n) { return n >= BLOCK_MIN && n <= BLOCK_MAX && (n & (n - 1)) == 0; }

static bool choose_blocks(struct vio_nbd *d, struct nbd_handle *h, const struct vio_disk_nbd_options *o, char *why)
{
	int64_t block = d->lib->get_block_size(h, LIBNBD_SIZE_MINIMUM), preferred = d->lib->get_block_size(h, LIBNBD_SIZE_PREFERRED),
	    most = d->lib->get_block_size(h, LIBNBD_SIZE_MAXIMUM);

	if (block < BLOCK_MIN)
		block = BLOCK_MIN;
	if (o->logical_block && o->logical_block < block)
		return vio_refuse(why, "%.200s has blocks of %" PRId64 " bytes: give --logical-block-size=%" PRId64 " or more", d->uri, block, block);
	if (o->logical_block)
		block = o->logical_block;
	if (!is_block_size(block))
		return vio_refuse(why, "%.200s has blocks of %" PRId64 " bytes, which can't be served; sizes are powers of two from %d to %d",
		    d->uri, block, BLOCK_MIN, BLOCK_MAX);
	d->disk.logical_block = (uint32_t)block;
	d->disk.physical_block = is_block_size(preferred) && preferred > block ? (uint32_t)preferred : (uint32_t)block;
	d->piece = most >= block && most < PIECE ? (uint64_t)(most / block * block) : PIECE;
	return true;
}

static bool probe(struct vio_nbd *d, struct nbd_handle *h, const struct vio_disk_nbd_options *o, char *why)
{
	const struct vio_nbd_library *lib = d->lib;
	int64_t size = lib->get_size(h);

	if (!choose_blocks(d, h, o, why))
		return false;
	if (size < d->disk.logical_block || size % d->disk.logical_block)
		return vio_refuse(why, "%.200s has %" PRId64 " bytes, which is no number of its %u-byte blocks; let the server round it "
		    "(nbdkit --filter=truncate round-up=%u)", d->uri, size, d->disk.logical_block, d->disk.logical_block);
	d->disk.size = (uint64_t)size;
	d->disk.read_only = o->read_only;
	if (!o->read_only && lib->is_read_only(h) > 0)
		return vio_refuse(why, "%.200s is offered for reading only; use --read-only", d->uri);
	d->tls = lib->get_tls_negotiated(h) > 0;
	if (o->read_only)
		return true;
	d->can_flush = lib->can_flush(h) > 0;
	d->can_fua = lib->can_fua(h) > 0;
	d->can_trim = lib->can_trim(h) > 0;
	d->can_zero = lib->can_zero(h) > 0;
	d->can_fast_zero = lib->can_fast_zero(h) > 0;
	d->disk.can_zero = true;	/* by writing, if need be */
	d->disk.zero_may_unmap = d->can_zero;
	d->disk.can_discard = d->can_trim;
	return true;
}

/*
 * Several connections don't know of each other's writes.  So nothing may be acknowledged that a server could still lose: every
 * write is durable.
 */
static bool judge_connections(struct vio_nbd *d, struct nbd_handle *h, char *why)
{
	if (d->conns == 1)
		return true;
	if (d->lib->can_multi_conn(h) <= 0)
		return vio_refuse(why, "the server of %.200s does not allow several connections: use --threads=1", d->uri);
	d->fua_always = !d->disk.read_only && d->can_flush;
	if (d->fua_always && !d->can_fua)
		return vio_refuse(why, "the server of %.200s has no durable writes (FUA), without which several connections could lose some "
		    "when it ends: use --threads=1", d->uri);
	return true;
}

/* A name that was looked up once: once confined, nobody can be asked again. */
static void remember_peer(struct vio_nbd *d, struct nbd_handle *h)
{
	struct sockaddr_storage peer;
	socklen_t n = sizeof peer;

	if (d->tls || getpeername(d->lib->aio_get_fd(h), (struct sockaddr *)&peer, &n))
		return;		/* TLS checks the name, so it must be given each time */
	if (peer.ss_family != AF_INET && peer.ss_family != AF_INET6)
		return;
	char *export = d->lib->get_export_name(h);
	if (!export)
		return;
	d->export = export;
	d->peer = peer;
	d->peer_len = n;
}

static bool make_connections(struct vio_nbd *d, const struct vio_disk_nbd_options *o)
{
	for (unsigned i = 0; i < d->conns; i++) {
		struct vio_nbd_conn *c = d->conn[i] = calloc(1, sizeof *c);
		if (!c)
			return false;
		c->disk = d;
		c->loop = o->place.loops[i];
		if (!vio_nbd_conn_init(c))
			return false;
	}
	return true;
}

static bool connect_all(struct vio_nbd *d, const struct vio_disk_nbd_options *o, char *why)
{
	for (unsigned i = 0; i < d->conns; i++) {
		struct vio_nbd_conn *c = d->conn[i];
		if (!connect_now(d, c, why))
			return false;
		if (i == 0 && (!probe(d, c->h, o, why) || !judge_connections(d, c->h, why)))
			return false;
		if (i == 0)
			remember_peer(d, c->h);
		else if (!vio_nbd_same_export(d, c->h, why))
			return false;
		c->state = VIO_NBD_UP;
	}
	return true;
}

struct vio_disk *vio_disk_nbd_open(const struct vio_disk_nbd_options *o, char *why)
{
	const struct vio_nbd_library *lib = vio_nbd_library(why);
	if (!lib)
		return NULL;
	struct vio_nbd *d = calloc(1, sizeof *d + o->place.loop_count * sizeof d->conn[0]);
	if (d) {
		*d = (struct vio_nbd){ .disk.ops = &ops, .lib = lib, .uri = strdup(o->uri), .news = o->news, .news_arg = o->news_arg,
			.conns = o->place.loop_count };
		if (d->uri && make_connections(d, o)) {
			if (connect_all(d, o, why))
				return &d->disk;
			disk_close(&d->disk);
			return NULL;
		}
		disk_close(&d->disk);
	}
	vio_refuse(why, "there is no memory for %.200s: free some", o->uri);
	return NULL;
}

/* ---- Confinement ---- */

/* Sockets of one family; a name's address is known. */
#define CALLS(family) { \
	{ SYS_socket, VIO_CALL_ONE, 0, family, 0 }, { SYS_connect, VIO_CALL_ANY, 0, 0, 0 }, { SYS_setsockopt, VIO_CALL_ANY, 0, 0, 0 }, \
	{ -1, 0, 0, 0, 0 } }
static const struct vio_sandbox_call unix_calls[] = CALLS(AF_UNIX), inet_calls[] = CALLS(AF_INET), inet6_calls[] = CALLS(AF_INET6),
	vsock_calls[] = CALLS(AF_VSOCK);

/* TLS reads its keys again, and looks up the name that it checks. */
static const struct vio_sandbox_call tls_calls[] = {
	{ SYS_socket, VIO_CALL_ANY, 0, 0, 0 }, { SYS_connect, VIO_CALL_ANY, 0, 0, 0 }, { SYS_setsockopt, VIO_CALL_ANY, 0, 0, 0 },
	{ SYS_openat, VIO_CALL_BITS, 2, O_ACCMODE, O_RDONLY }, { SYS_bind, VIO_CALL_ANY, 0, 0, 0 }, { SYS_getsockname, VIO_CALL_ANY, 0, 0, 0 },
	{ SYS_getpeername, VIO_CALL_ANY, 0, 0, 0 }, { SYS_sendmmsg, VIO_CALL_ANY, 0, 0, 0 }, { SYS_getdents64, VIO_CALL_ANY, 0, 0, 0 },
	{ SYS_uname, VIO_CALL_ANY, 0, 0, 0 }, { SYS_faccessat, VIO_CALL_ANY, 0, 0, 0 },
#ifdef SYS_access
	{ SYS_access, VIO_CALL_ANY, 0, 0, 0 },
#endif
	{ SYS_getuid, VIO_CALL_ANY, 0, 0, 0 }, { SYS_geteuid, VIO_CALL_ANY, 0, 0, 0 }, { SYS_statx, VIO_CALL_ANY, 0, 0, 0 },
	{ SYS_ioctl, VIO_CALL_ONE, 1, 0x541b /* FIONREAD: the resolver */, 0 },
	{ -1, 0, 0, 0, 0 },
};

static void allow_folder(struct vio_sandbox_options *o, const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)		/* stays open, as confinement needs it */
		vio_sandbox_folder(o, fd, VIO_FOLDER_READ | VIO_FOLDER_LIST);
}

/* The value of a parameter of the URI, such as tls-psk-file; false: it has none. */
static bool parameter(const char *uri, const char *name, char *value, size_t room)
{
	size_t n = strlen(name), to = 0;

	for (const char *p = strchr(uri, '?'); p; p = strpbrk(p + 1, "&;")) {
		if (strncmp(p + 1, name, n) || p[1 + n] != '=')
			continue;
		for (p += n + 2; *p && *p != '&' && *p != ';' && *p != '#' && to < room - 1; p++) {
			unsigned c;
			if (*p == '%' && sscanf(p + 1, "%2x", &c) == 1) {
				value[to++] = (char)c;
				p += 2;
			} else {
				value[to++] = *p;
			}
		}
		value[to] = 0;
		return true;
	}
	return false;
}

static void allow_keys(const struct vio_nbd *d, struct vio_sandbox_options *o)
{
	char path[4096];

	allow_folder(o, "/etc");
	allow_folder(o, "/run/systemd/resolve");
	allow_folder(o, "/usr/share/ca-certificates");
	if (parameter(d->uri, "tls-certificates", path, sizeof path))
		allow_folder(o, path);
	if (parameter(d->uri, "tls-psk-file", path, sizeof path)) {
		char *slash = strrchr(path, '/');
		if (slash)
			slash[slash == path] = 0;
		allow_folder(o, slash ? path : ".");
	}
	const char *home = getenv("HOME");
	if (home && snprintf(path, sizeof path, "%s/.pki/libnbd", home) < (int)sizeof path)
		allow_folder(o, path);
}

void vio_disk_nbd_grant(const struct vio_disk *disk, struct vio_sandbox_options *o)
{
	const struct vio_nbd *d = (const struct vio_nbd *)disk;
	struct sockaddr_storage peer;
	socklen_t n = sizeof peer;

	if (getpeername(d->lib->aio_get_fd(d->conn[0]->h), (struct sockaddr *)&peer, &n))
		peer.ss_family = d->peer_len ? d->peer.ss_family : AF_UNIX;
	if (peer.ss_family == AF_INET || peer.ss_family == AF_INET6)
		o->network = true;
	if (d->tls) {
		vio_sandbox_calls(o, tls_calls);
		allow_keys(d, o);
		return;
	}
	vio_sandbox_calls(o, peer.ss_family == AF_INET ? inet_calls : peer.ss_family == AF_INET6 ? inet6_calls :
	    peer.ss_family == AF_VSOCK ? vsock_calls : unix_calls);
}
