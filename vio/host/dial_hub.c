/*
 * The switchboard: guests of one process call each other by context id, if a group has them both.  All of it is one thread's;
 * events go by a task of the loop, so that no device is entered while another is at work.
 */
#include <stdlib.h>
#include <string.h>
#include <vio/host/dial_pair.h>

struct member {
	struct vio_dial dial;
	struct vio_hub *hub;
	uint64_t cid;
	char *groups;
	uint32_t room;
	struct vio_dial *outer;
	struct member *next;
};

struct vio_hub {
	struct vio_loop *loop;
	struct member *first;
	struct vio_pair_list due;
	struct vio_task deliver;
};

static void deliver(void *arg)
{
	struct vio_hub *h = arg;

	vio_pair_deliver(&h->due);
	if (h->due.first)
		vio_loop_task(h->loop, &h->deliver);
}

static void wake(void *arg)
{
	struct vio_hub *h = arg;

	vio_loop_task(h->loop, &h->deliver);
}

/* ---- Groups: words with commas between ---- */

static bool has_group(const char *groups, const char *word, size_t n)
{
	for (const char *at = groups; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strcspn(at, ",") == n && !memcmp(at, word, n))
			return true;
	}
	return false;
}

static bool share(const struct member *a, const struct member *b)
{
	for (const char *at = a->groups; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (has_group(b->groups, at, strcspn(at, ",")))
			return true;
	}
	return false;
}

static bool words(const char *groups)
{
	return *groups && *groups != ',' && !strstr(groups, ",,") && groups[strlen(groups) - 1] != ',';
}

/* ---- A member ---- */

static struct vio_line *hub_connect(struct vio_dial *d, const struct vio_dial_call *call)
{
	struct member *m = (struct member *)d, *to = m->hub->first;

	while (to && to->cid != call->to_cid)
		to = to->next;
	if (!to || to == m || !share(m, to))
		return m->outer && !to ? m->outer->ops->connect(m->outer, call) : NULL;
	struct vio_pair *p = vio_pair_new(call, m->room > to->room ? m->room : to->room, &m->hub->due, wake, m->hub);
	if (!p)
		return NULL;
	if (!to->dial.incoming || !to->dial.incoming(to->dial.arg, call, &p->end[1].line)) {
		vio_pair_free(p);
		return NULL;
	}
	return &p->end[0].line;
}

static bool from_outside(void *arg, const struct vio_dial_call *call, struct vio_line *l)
{
	struct member *m = arg;

	return m->dial.incoming && m->dial.incoming(m->dial.arg, call, l);
}

static void hub_close(struct vio_dial *d)
{
	struct member *m = (struct member *)d, **at = &m->hub->first;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	if (m->outer)
		m->outer->ops->close(m->outer);
	free(m->groups);
	free(m);
}

static const struct vio_dial_ops ops = { .connect = hub_connect, .close = hub_close };

struct vio_dial *vio_hub_join(struct vio_hub *h, const struct vio_hub_member *o, char *why)
{
	struct member *m = NULL;

	if (!words(o->groups)) {
		vio_refuse(why, "the groups \"%.40s\" are not words with commas between: give them like --groups=web,db", o->groups);
		return NULL;
	}
	for (m = h->first; m; m = m->next)
		if (m->cid == o->cid) {
			vio_refuse(why, "two guests have the context id %llu: give each its own --guest-cid", (unsigned long long)o->cid);
			return NULL;
		}
	if (!(m = calloc(1, sizeof *m)) || !(m->groups = strdup(o->groups))) {
		free(m);
		vio_refuse(why, "there is no memory left for another guest");
		return NULL;
	}
	m->dial.ops = &ops;
	m->hub = h;
	m->cid = o->cid;
	m->room = o->message_max ? o->message_max : 256 << 10;
	m->outer = o->outer;
	m->next = h->first;
	h->first = m;
	if (m->outer) {
		m->outer->incoming = from_outside;
		m->outer->arg = m;
	}
	return &m->dial;
}

struct vio_hub *vio_hub_new(struct vio_loop *loop)
{
	struct vio_hub *h = calloc(1, sizeof *h);

	if (!h)
		return NULL;
	h->loop = loop;
	h->deliver = (struct vio_task){ .fn = deliver, .arg = h };
	return h;
}

void vio_hub_free(struct vio_hub *h)
{
	if (!h)
		return;
	vio_pair_deliver(&h->due);	/* nobody is there to hear: what has been closed is freed */
	vio_loop_untask(h->loop, &h->deliver);
	free(h);
}
