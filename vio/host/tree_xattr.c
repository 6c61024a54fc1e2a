/*
 * Operations on extended attributes.
 *
 * Which a guest may touch is a list, not the host's affair by chance:
 *   on    user.*, security.capability, and the two ACLs, all as they are
 *   map   all: user.* and the ACLs as they are; the rest would mean something to the host, and is kept as user.virtiofs.*
 *         (as other servers do, so that a folder can be served by either)
 *
 * They run in the pool's threads, whose working directory is /proc/self/fd: the name of a descriptor is a path there,
 * which leads to the very file, a symbolic link too.
 */
#include <vio/host/tree_host.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ACCESS "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"
#define CAPABILITY "security.capability"
#define PREFIX "user.virtiofs."
enum { PREFIX_LEN = sizeof PREFIX - 1 };

static bool begins(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }
static bool is_acl(const char *name) { return !strcmp(name, ACCESS) || !strcmp(name, DEFAULT); }

/* The host's name for a guest's: 0 or an errno value. */
static int host_name(const struct vio_host_tree *t, const char *guest, char host[VIO_TREE_NAME + 1])
{
	bool map = t->o.xattr == VIO_TREE_XATTR_MAP;

	if (t->o.xattr == VIO_TREE_XATTR_OFF || (is_acl(guest) && t->o.no_acl))
		return EOPNOTSUPP;
	if (map && begins(guest, PREFIX))
		return EPERM;		/* would be another name's place */
	if (is_acl(guest) || begins(guest, "user.") || (!map && !strcmp(guest, CAPABILITY))) {
		memcpy(host, guest, strlen(guest) + 1);
		return 0;
	}
	if (!map)
		return EOPNOTSUPP;
	if (strlen(guest) + PREFIX_LEN > VIO_TREE_NAME)
		return ERANGE;
	memcpy(host, PREFIX, PREFIX_LEN);
	memcpy(host + PREFIX_LEN, guest, strlen(guest) + 1);
	return 0;
}

/* The guest's name for a host's, or NULL: it is not shown. */
static const char *guest_name(const struct vio_host_tree *t, const char *host)
{
	char same[VIO_TREE_NAME + 1];

	if (t->o.xattr == VIO_TREE_XATTR_MAP && begins(host, PREFIX))
		return host + PREFIX_LEN;
	return strlen(host) <= VIO_TREE_NAME && !host_name(t, host, same) && !strcmp(same, host) ? host : NULL;
}

/* ---- ACLs name users and groups (linux/posix_acl_xattr.h) ---- */

enum { ACL_VERSION = 2, ACL_HEAD = 4, ACL_ENTRY = 8, ACL_TAG_USER = 2, ACL_TAG_GROUP = 8 };

static uint32_t get32(const unsigned char *p) { return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24; }
static void put32(unsigned char *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> 8 * i);
}

/* Turn the ids of an ACL into the other side's.  0 or an errno value. */
static int turn_acl(const struct vio_host_tree *t, unsigned char *acl, size_t n, bool to_host)
{
	if ((!t->o.uid.entries && !t->o.gid.entries) || n == 0)
		return 0;
	if (n < ACL_HEAD || (n - ACL_HEAD) % ACL_ENTRY || get32(acl) != ACL_VERSION)
		return EINVAL;
	for (unsigned char *e = acl + ACL_HEAD; e < acl + n; e += ACL_ENTRY) {
		unsigned tag = e[0] | e[1] << 8;
		const struct vio_tree_ids *m = tag == ACL_TAG_USER ? &t->o.uid : tag == ACL_TAG_GROUP ? &t->o.gid : NULL;
		uint32_t id = get32(e + 4);
		if (!m)
			continue;
		if (to_host && !vio_id_to_host(m, id, &id))
			return EINVAL;
		put32(e + 4, to_host ? id : vio_id_to_guest(m, id));
	}
	return 0;
}

/* ---- The calls ---- */

int vio_xattr_set(struct vio_host_tree *t, const char *file, const char *name, void *value, size_t n, int flags)
{
	char host[VIO_TREE_NAME + 1];
	int error = host_name(t, name, host);

	if (!error && is_acl(host))
		error = turn_acl(t, value, n, true);
	if (error)
		return error;
	return setxattr(file, host, value, n, flags) < 0 ? errno : 0;
}

void vio_xattr_changed(struct vio_host_tree *t, int fd)
{
	if (t->o.xattr == VIO_TREE_XATTR_MAP)
		fremovexattr(fd, PREFIX CAPABILITY);	/* mostly there is none */
}

/* A node by its name in /proc/self/fd, until vio_node_done(). */
static struct vio_node *use(struct vio_host_tree *t, struct vio_tree_req *r, char name[16], int *error)
{
	int fd;
	struct vio_node *n = vio_node_use(t, r->node, true, &fd, error);

	if (n)
		snprintf(name, 16, "%d", fd);
	return n;
}

int vio_tree_setxattr(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	size_t size = (size_t)r->bytes.left;
	char file[16];
	int error;

	(void)may_wait;			/* always in the pool */
	if (r->bytes.left > VIO_TREE_XATTR)
		return E2BIG;
	if (r->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
		return EINVAL;
	unsigned char *value = malloc(size ? size : 1);
	if (!value)
		return ENOMEM;
	vio_cur_get(&r->bytes, value, size);
	struct vio_node *n = use(t, r, file, &error);
	if (n) {
		/* Whoever sets this is not in the file's group, the guest says: as if we were not either. */
		bool kill = r->kill_sgid && !strcmp(r->name, ACCESS);
		uint32_t gid = t->gid;
		if (kill) {
			vio_id_fsetid(t, false);
			if (t->switches && vio_id_to_host(&t->o.gid, r->gid, &gid))
				syscall(SYS_setfsgid, gid);
		}
		error = vio_xattr_set(t, file, r->name, value, size, (int)r->flags);
		if (kill) {
			if (t->switches)
				syscall(SYS_setfsgid, t->gid);
			vio_id_fsetid(t, true);
		}
		vio_node_done(t, n);
	}
	free(value);
	return error;
}

int vio_tree_removexattr(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	char host[VIO_TREE_NAME + 1], file[16];
	int error = host_name(t, r->name, host);

	(void)may_wait;
	struct vio_node *n = error ? NULL : use(t, r, file, &error);
	if (!n)
		return error;
	error = removexattr(file, host) < 0 ? errno : 0;
	vio_node_done(t, n);
	return error;
}

/* n bytes into the guest's buffer, or their number alone. */
static int answer(struct vio_tree_req *r, const void *bytes, size_t n)
{
	r->result = n;
	if (!r->bytes.left)
		return 0;
	return vio_cur_put(&r->bytes, bytes, n) ? 0 : ERANGE;
}

int vio_tree_getxattr(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	char host[VIO_TREE_NAME + 1], file[16];
	int error = host_name(t, r->name, host);

	(void)may_wait;
	struct vio_node *n = error ? NULL : use(t, r, file, &error);
	if (!n)
		return error;
	unsigned char *value = malloc(VIO_TREE_XATTR);
	ssize_t got = value ? getxattr(file, host, value, VIO_TREE_XATTR) : -1;
	error = got < 0 ? (value ? errno : ENOMEM) : is_acl(host) ? turn_acl(t, value, (size_t)got, false) : 0;
	vio_node_done(t, n);
	if (!error)
		error = answer(r, value, (size_t)got);
	free(value);
	return error;
}

/* Host names to those a guest sees, in place: they only become shorter.  The new size. */
static size_t show(const struct vio_host_tree *t, char *names, size_t size)
{
	char *to = names;

	for (char *at = names, *next; at < names + size; at = next) {
		next = at + strlen(at) + 1;
		const char *seen = guest_name(t, at);
		if (!seen)
			continue;
		size_t n = (size_t)(next - seen);
		memmove(to, seen, n);
		to += n;
	}
	return (size_t)(to - names);
}

int vio_tree_listxattr(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	char file[16];
	int error;

	(void)may_wait;
	if (t->o.xattr == VIO_TREE_XATTR_OFF)
		return EOPNOTSUPP;
	struct vio_node *n = use(t, r, file, &error);
	if (!n)
		return error;
	char *names = malloc(VIO_TREE_XATTR);
	ssize_t got = names ? listxattr(file, names, VIO_TREE_XATTR) : -1;
	error = got < 0 ? (names ? errno : ENOMEM) : 0;
	vio_node_done(t, n);
	if (!error)
		error = answer(r, names, show(t, names, (size_t)got));
	free(names);
	return error;
}
