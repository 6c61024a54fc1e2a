/*
 * Nodes: what the guest calls files by, and how often it has looked each of them up.
 *
 * A node is one file: device, inode and mount, and the time it was born, because inode numbers are used again.  It lives
 * as long as the guest counts lookups of it, a request uses it or a child names it as its parent.  A number is never used
 * twice: it is a slot and how often the slot was used, and the low bits tell the shard, which follows from the identity.
 */
#include <vio/host/tree_host.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUCKETS = 64, SLOTS = 64 };	/* of a shard, at first */

static uint64_t hash(const struct vio_node_key *k)
{
	uint64_t h = (k->ino ^ k->dev << 20 ^ k->mount << 40) * UINT64_C(0x9e3779b97f4a7c15);

	return h ^ h >> 29;
}

static struct vio_node_shard *shard_of(struct vio_host_tree *t, uint64_t h) { return &t->shard[h % VIO_NODE_SHARDS]; }

static struct vio_node **bucket_of(struct vio_node_shard *s, uint64_t h)
{
	return &s->bucket[h / VIO_NODE_SHARDS & (s->buckets - 1)];
}

static uint64_t hash_of(const struct vio_node *n)
{
	return hash(&(struct vio_node_key){ .dev = n->dev, .ino = n->ino, .mount = n->mount });
}

static struct vio_node *find(struct vio_node_shard *s, uint64_t h, const struct vio_node_key *k)
{
	for (struct vio_node *n = *bucket_of(s, h); n; n = n->bucket)
		if (n->ino == k->ino && n->dev == k->dev && n->mount == k->mount)
			return n;
	return NULL;
}

/*
 * Is the node found really that file, not an earlier one of the same number?  A descriptor keeps a number from being used
 * again; without one, only the birth tells.
 */
static bool is_same(const struct vio_node *n, const struct vio_node_key *k)
{
	return n->type == k->type && (n->fd >= 0 || (n->born && n->born == k->born));
}

/* The root is in no bucket: its number says nothing of its identity. */
static bool is_root(const struct vio_host_tree *t, const struct vio_node_key *k)
{
	return k->ino == t->root.ino && k->dev == t->root.dev && k->mount == t->root.mount;
}

/* ---- Slots and buckets, with the shard's lock ---- */

static void grow_buckets(struct vio_node_shard *s)
{
	struct vio_node **old = s->bucket, **bigger = calloc((size_t)s->buckets * 2, sizeof *bigger);
	uint32_t n = s->buckets;

	if (!bigger)
		return;			/* slower, not wrong */
	s->bucket = bigger;
	s->buckets *= 2;
	for (uint32_t i = 0; i < n; i++)
		for (struct vio_node *at = old[i], *next; at; at = next) {
			struct vio_node **to = bucket_of(s, hash_of(at));
			next = at->bucket;
			at->bucket = *to;
			*to = at;
		}
	free(old);
}

/* False: no memory. */
static bool take_slot(struct vio_node_shard *s, unsigned shard, struct vio_node *n)
{
	uint32_t i = s->free_slot;

	if (i) {
		s->free_slot = s->slot[--i].free;
	} else {
		if (s->used_slots == s->slots) {
			uint32_t more = s->slots ? s->slots * 2 : SLOTS;
			struct vio_node_slot *p = realloc(s->slot, more * sizeof *p);
			if (!p)
				return false;
			s->slot = p;
			s->slots = more;
		}
		i = s->used_slots++;
		s->slot[i].generation = 0;
	}
	s->slot[i].node = n;
	s->slot[i].generation++;
	n->id = (uint64_t)s->slot[i].generation << 32 | (uint64_t)i * VIO_NODE_SHARDS | shard;
	return true;
}

static void unhash(struct vio_node_shard *s, struct vio_node *n)
{
	struct vio_node **at = bucket_of(s, hash_of(n));

	while (*at && *at != n)
		at = &(*at)->bucket;
	if (*at)
		*at = n->bucket;
	n->bucket = NULL;
}

static void unlist(struct vio_node_shard *s, struct vio_node *n)
{
	struct vio_node **at = &s->oldest;

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	if (!*at)
		s->newest = at;
	n->next = NULL;
	n->listed = false;
}

/* The last that knew it has gone.  What remains to be done without the lock: its descriptor, its parent. */
static void take_out(struct vio_node_shard *s, struct vio_node *n)
{
	uint32_t i = (uint32_t)n->id / VIO_NODE_SHARDS;

	if (!n->stale)
		unhash(s, n);
	if (n->listed)
		unlist(s, n);
	if (n->fd >= 0)
		s->descriptors--;
	s->nodes--;
	s->slot[i].node = NULL;
	s->slot[i].free = s->free_slot;
	s->free_slot = i + 1;
}

static bool is_over(const struct vio_node *n) { return !n->lookups && !n->pins && n->id != VIO_TREE_ROOT; }

/* A pin less; up through the parents that nobody knows any more. */
static void unpin(struct vio_host_tree *t, struct vio_node *n)
{
	while (n) {
		struct vio_node_shard *s = vio_node_shard(t, n);
		pthread_mutex_lock(&s->lock);
		n->pins--;
		bool over = is_over(n);
		if (over)
			take_out(s, n);
		pthread_mutex_unlock(&s->lock);
		if (!over)
			return;
		struct vio_node *parent = n->parent;
		if (n->fd >= 0)
			vio_tree_pool_close(t->pool, n->fd);
		if (n->kept)
			t->kept--;
		free(n->name);
		free(n->handle);
		free(n);
		n = parent;
	}
}

/* ---- By number ---- */

/* With the lock. */
static struct vio_node *by_id(struct vio_host_tree *t, uint64_t id, struct vio_node_shard **shard)
{
	struct vio_node_shard *s = *shard = &t->shard[id % VIO_NODE_SHARDS];
	uint32_t i = (uint32_t)id / VIO_NODE_SHARDS;

	pthread_mutex_lock(&s->lock);
	return i < s->used_slots && s->slot[i].node && s->slot[i].node->id == id ? s->slot[i].node : NULL;
}

struct vio_node *vio_node_get(struct vio_host_tree *t, uint64_t id)
{
	struct vio_node_shard *s;
	struct vio_node *n = by_id(t, id, &s);

	if (n)
		n->pins++;
	pthread_mutex_unlock(&s->lock);
	return n;
}

void vio_node_put(struct vio_host_tree *t, struct vio_node *n) { unpin(t, n); }

void vio_node_forget(struct vio_host_tree *t, uint64_t id, uint64_t lookups)
{
	struct vio_node_shard *s;
	struct vio_node *n = by_id(t, id, &s);

	if (n) {
		n->lookups = lookups < n->lookups ? n->lookups - lookups : 0;
		n->pins++;
	}
	pthread_mutex_unlock(&s->lock);
	if (n)
		unpin(t, n);
}

void vio_nodes_forget_all(struct vio_host_tree *t)
{
	for (struct vio_node_shard *s = t->shard; s < t->shard + VIO_NODE_SHARDS; s++)
		for (uint32_t i = 0;; i++) {
			pthread_mutex_lock(&s->lock);
			struct vio_node *n = NULL;
			while (i < s->used_slots && !(n = s->slot[i].node))
				i++;
			if (n) {
				n->lookups = 0;
				n->pins++;
			}
			pthread_mutex_unlock(&s->lock);
			if (!n)
				break;
			unpin(t, n);
		}
}

/* ---- By identity ---- */

bool vio_node_again(struct vio_host_tree *t, const struct vio_node_key *k, uint64_t *id)
{
	uint64_t h = hash(k);
	struct vio_node_shard *s = shard_of(t, h);

	if (is_root(t, k)) {
		*id = VIO_TREE_ROOT;
		return true;
	}
	pthread_mutex_lock(&s->lock);
	struct vio_node *n = find(s, h, k);
	bool known = n && is_same(n, k);
	if (known) {
		n->lookups++;
		*id = n->id;
	}
	pthread_mutex_unlock(&s->lock);
	return known;
}

struct vio_node *vio_node_of(struct vio_host_tree *t, const struct vio_node_key *k)
{
	uint64_t h = hash(k);
	struct vio_node_shard *s = shard_of(t, h);

	if (is_root(t, k))
		return vio_node_get(t, VIO_TREE_ROOT);
	pthread_mutex_lock(&s->lock);
	struct vio_node *n = find(s, h, k);
	if (n && is_same(n, k))
		n->pins++;
	else
		n = NULL;
	pthread_mutex_unlock(&s->lock);
	return n;
}

bool vio_node_maybe(struct vio_host_tree *t, const struct vio_node *in, uint64_t ino)
{
	struct vio_node_key k = { .dev = in->dev, .mount = in->mount, .ino = ino };
	uint64_t h = hash(&k);
	struct vio_node_shard *s = shard_of(t, h);

	pthread_mutex_lock(&s->lock);
	bool found = find(s, h, &k) != NULL;
	pthread_mutex_unlock(&s->lock);
	return found;
}

/* With the lock: found under this identity already, or NULL.  An earlier file of the same number makes room. */
static struct vio_node *meet(struct vio_node_shard *s, uint64_t h, const struct vio_node_key *k)
{
	struct vio_node *n = find(s, h, k);

	if (!n || is_same(n, k))
		return n;
	unhash(s, n);
	n->stale = true;
	return NULL;
}

static int add(struct vio_host_tree *t, struct vio_node_shard *s, uint64_t h, struct vio_node *n, int fd)
{
	if (s->nodes >= t->nodes_per_shard)
		return ENFILE;
	if (!take_slot(s, (unsigned)(s - t->shard), n))
		return ENOMEM;
	if (s->nodes++ > s->buckets)
		grow_buckets(s);
	struct vio_node **to = bucket_of(s, h);
	n->bucket = *to;
	*to = n;
	n->lookups = 1;
	vio_node_list(s, n, fd);
	return 0;
}

static struct vio_node *make(const struct vio_node_key *k, struct vio_node *parent, const char *name)
{
	struct vio_node *n = calloc(1, sizeof *n);

	if (!n || (name && !(n->name = strdup(name)))) {
		free(n);
		return NULL;
	}
	n->dev = k->dev;
	n->ino = k->ino;
	n->mount = k->mount;
	n->born = k->born;
	n->type = k->type;
	n->fd = -1;
	n->parent = parent;
	return n;
}

int vio_node_enter(struct vio_host_tree *t, struct vio_node *parent, const char *name, const struct vio_node_key *k,
    int fd, uint64_t *id)
{
	uint64_t h = hash(k);
	struct vio_node_shard *s = shard_of(t, h);
	if (is_root(t, k)) {
		*id = VIO_TREE_ROOT;
		close(fd);
		return 0;
	}
	struct vio_node *fresh = make(k, parent, parent ? name : NULL);
	int error = fresh ? 0 : ENOMEM;
	if (fresh && parent)
		vio_node_pin(parent);
	pthread_mutex_lock(&s->lock);
	struct vio_node *n = fresh ? meet(s, h, k) : NULL;
	if (n)
		n->lookups++;
	else if (fresh && !(error = add(t, s, h, fresh, fd)))
		n = fresh;
	if (n)
		*id = n->id;
	pthread_mutex_unlock(&s->lock);
	if (n == fresh && n) {
		vio_node_trim(t, s);
		return 0;
	}
	close(fd);
	if (fresh) {
		if (parent)
			unpin(t, parent);
		free(fresh->name);
		free(fresh);
	}
	return error;
}

void vio_node_moved(struct vio_host_tree *t, struct vio_node *n, struct vio_node *parent, const char *name)
{
	struct vio_node_shard *s = vio_node_shard(t, n);
	char *copy = strdup(name), *old = NULL;
	struct vio_node *before = NULL;

	if (!copy)
		return;			/* it may not be found again: ESTALE */
	vio_node_pin(parent);
	pthread_mutex_lock(&s->lock);
	if (n->id != VIO_TREE_ROOT) {
		old = n->name;
		before = n->parent;
		n->name = copy;
		n->parent = parent;
	} else {
		old = copy;
		before = parent;
	}
	pthread_mutex_unlock(&s->lock);
	free(old);
	if (before)
		unpin(t, before);
}

/* ---- Life ---- */

bool vio_nodes_init(struct vio_host_tree *t, const struct vio_node_key *root, int root_fd)
{
	for (struct vio_node_shard *s = t->shard; s < t->shard + VIO_NODE_SHARDS; s++) {
		pthread_mutex_init(&s->lock, NULL);
		s->newest = &s->oldest;
		s->buckets = BUCKETS;
		if (!(s->bucket = calloc(BUCKETS, sizeof(struct vio_node *))))
			return false;
	}
	struct vio_node *n = make(root, NULL, NULL);
	if (!n)
		return false;
	/* The root's number is given: slot 0 of shard 1. */
	struct vio_node_shard *s = &t->shard[VIO_TREE_ROOT % VIO_NODE_SHARDS];
	if (!take_slot(s, VIO_TREE_ROOT % VIO_NODE_SHARDS, n)) {
		free(n);
		return false;
	}
	n->id = VIO_TREE_ROOT;
	n->fd = root_fd;
	n->pins = 1;
	s->nodes++;
	return true;
}

void vio_nodes_free(struct vio_host_tree *t)
{
	for (struct vio_node_shard *s = t->shard; s < t->shard + VIO_NODE_SHARDS; s++) {
		if (s->used_slots && s == &t->shard[VIO_TREE_ROOT % VIO_NODE_SHARDS])
			free(s->slot[0].node);
		free(s->bucket);
		free(s->slot);
		pthread_mutex_destroy(&s->lock);
	}
}
