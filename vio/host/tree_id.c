/*
 * Users and groups: the guest's numbers and the host's, and creating as whoever asks.
 *
 * What a guest does to existing files its own kernel has allowed, and is done as the daemon's user.  What it creates must
 * belong to whoever asked, so the thread becomes that user for one call: the file system ids (setfsuid) and the further
 * groups, by system calls of the thread alone.  The kernel takes the privileges over files away with user 0, so that a
 * new file inherits a set-group-id bit only if the asker is in that group; and we have no further groups of our own, in
 * which we could seem to be.
 */
#include <vio/host/tree_host.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534 };		/* what a host's id without counterpart looks like: the kernel's own overflow id */

/* ---- Maps ---- */

static bool number(const char **at, char end, uint32_t *n)
{
	char *after;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	unsigned long long v = strtoull(*at, &after, 10);
	if (errno || v > UINT32_MAX || (end ? *after != end : *after && *after != ','))
		return false;
	*n = (uint32_t)v;
	*at = after + (*after != 0);
	return true;
}

static bool overlap(uint32_t a, uint32_t b, uint32_t a_count, uint32_t b_count)
{
	return a < b ? b - a < a_count : a - b < b_count;
}

bool vio_tree_ids_parse(struct vio_tree_ids *m, const char *text, char *why)
{
	m->entries = 0;
	for (const char *at = text; *at; m->entries++) {
		if (m->entries == VIO_TREE_IDS)
			return vio_refuse(why, "the map %.40s... has more than %d parts: join some", text, VIO_TREE_IDS);
		uint32_t *guest = &m->map[m->entries].guest, *host = &m->map[m->entries].host, *count = &m->map[m->entries].count;
		if (!number(&at, ':', guest) || !number(&at, ':', host) || !number(&at, 0, count) || !*count ||
		    *count > UINT32_MAX - *guest || *count > UINT32_MAX - *host)
			return vio_refuse(why, "%.80s is no map of ids: give GUEST:HOST:COUNT, further ones after commas", text);
		for (unsigned i = 0; i < m->entries; i++)
			if (overlap(m->map[i].guest, *guest, m->map[i].count, *count) ||
			    overlap(m->map[i].host, *host, m->map[i].count, *count))
				return vio_refuse(why, "parts of the map %.80s overlap: each id may be named once on each side", text);
	}
	return m->entries || vio_refuse(why, "the map of ids is empty: give GUEST:HOST:COUNT");
}

bool vio_id_to_host(const struct vio_tree_ids *m, uint32_t guest, uint32_t *host)
{
	if (m->squash) {
		*host = m->squash_to;
		return true;
	}
	*host = guest;
	for (unsigned i = 0; i < m->entries; i++)
		if (guest - m->map[i].guest < m->map[i].count) {
			*host = m->map[i].host + (guest - m->map[i].guest);
			return true;
		}
	return !m->entries;
}

uint32_t vio_id_to_guest(const struct vio_tree_ids *m, uint32_t host)
{
	for (unsigned i = 0; i < m->entries; i++)
		if (host - m->map[i].host < m->map[i].count)
			return m->map[i].guest + (host - m->map[i].host);
	return m->entries ? NOBODY : host;
}

/* ---- Becoming whoever asks ---- */

/* The thread's own, which setfsuid(2) answers whatever it is asked for: it does not say whether it has obeyed. */
static bool become(long call, uint32_t id)
{
	syscall(call, id);
	return (uint32_t)syscall(call, -1) == id;
}

static int enter_groups(const struct vio_host_tree *t, const struct vio_tree_req *r)
{
	uint32_t group[VIO_TREE_GROUPS];

	for (uint32_t i = 0; i < r->group_count; i++)
		if (!vio_id_to_host(&t->o.gid, r->group[i], &group[i]))
			return EPERM;
	return r->group_count && syscall(SYS_setgroups, (size_t)r->group_count, group) ? EPERM : 0;
}

int vio_id_enter(struct vio_host_tree *t, const struct vio_tree_req *r, uint32_t mask)
{
	uint32_t uid, gid;

	if (!vio_id_to_host(&t->o.uid, r->uid, &uid) || !vio_id_to_host(&t->o.gid, r->gid, &gid))
		return EPERM;
	if (!t->switches) {
		if (uid != t->uid || gid != t->gid)
			return EPERM;
	} else if (enter_groups(t, r) || (gid != t->gid && !become(SYS_setfsgid, gid)) ||
	    (uid != t->uid && !become(SYS_setfsuid, uid))) {
		vio_id_leave(t, r);
		return EPERM;
	}
	umask(mask);	/* of this thread alone: it shares its file system state with nobody */
	return 0;
}

void vio_id_leave(struct vio_host_tree *t, const struct vio_tree_req *r)
{
	int saved = errno;

	umask(0);
	if (t->switches) {
		syscall(SYS_setfsuid, t->uid);
		syscall(SYS_setfsgid, t->gid);
		if (r->group_count)
			syscall(SYS_setgroups, (size_t)0, NULL);
	}
	errno = saved;
}

/* ---- Capabilities ---- */

static bool caps_get(struct __user_cap_data_struct c[2])
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(SYS_capget, &h, c) == 0;
}

void vio_id_fsetid(struct vio_host_tree *t, bool on)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct c[2];
	int saved = errno;

	if (t->has_fsetid && caps_get(c)) {
		if (on)
			c[0].effective |= c[0].permitted & 1u << CAP_FSETID;
		else
			c[0].effective &= ~(1u << CAP_FSETID);
		syscall(SYS_capset, &h, c);
	}
	errno = saved;
}

void vio_id_probe(struct vio_host_tree *t)
{
	struct __user_cap_data_struct c[2];
	const uint32_t needed = 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER;

	t->uid = geteuid();
	t->gid = getegid();
	if (!caps_get(c))
		return;
	t->has_fsetid = c[0].effective >> CAP_FSETID & 1;
	/* Only with user 0 does the kernel take privileges away and give them back. */
	t->switches = t->uid == 0 && (c[0].effective & needed) == needed && (getgroups(0, NULL) == 0 || setgroups(0, NULL) == 0);
}
