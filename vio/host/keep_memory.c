#include <vio/host/keep.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct memory_keep {
	struct vio_keep base;
	pthread_mutex_t lock;
	uint64_t version;		/* atomic to read */
	size_t n;
	unsigned fails;
	int error;
	unsigned char bytes[VIO_KEEP_BYTES];
};

static struct memory_keep *of(struct vio_keep *k) { return (struct memory_keep *)k; }

static uint64_t version(struct vio_keep *k) { return __atomic_load_n(&of(k)->version, __ATOMIC_ACQUIRE); }

static size_t read_bytes(struct vio_keep *k, unsigned char *to, uint64_t *version)
{
	struct memory_keep *m = of(k);

	pthread_mutex_lock(&m->lock);
	size_t n = m->n;
	memcpy(to, m->bytes, n);
	*version = m->version;
	pthread_mutex_unlock(&m->lock);
	return n;
}

static int update(struct vio_keep *k, bool durable, size_t (*change)(void *arg, unsigned char *bytes, size_t n), void *arg)
{
	struct memory_keep *m = of(k);
	unsigned char bytes[VIO_KEEP_BYTES];
	int error = 0;

	(void)durable;
	pthread_mutex_lock(&m->lock);
	memcpy(bytes, m->bytes, m->n);
	size_t n = change(arg, bytes, m->n);
	if (n <= VIO_KEEP_BYTES && m->fails) {
		m->fails--;
		error = m->error;
	} else if (n <= VIO_KEEP_BYTES) {
		memcpy(m->bytes, bytes, n);
		m->n = n;
		__atomic_store_n(&m->version, m->version + 1, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&m->lock);
	return error;
}

static void keep_close(struct vio_keep *k)
{
	pthread_mutex_destroy(&of(k)->lock);
	free(k);
}

static const struct vio_keep_ops ops = { .version = version, .read = read_bytes, .update = update, .close = keep_close };

struct vio_keep *vio_keep_memory_open(void)
{
	struct memory_keep *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->base = (struct vio_keep){ .ops = &ops, .fresh = true };
	pthread_mutex_init(&m->lock, NULL);
	return &m->base;
}

void vio_keep_memory_fail(struct vio_keep *k, unsigned updates, int error)
{
	pthread_mutex_lock(&of(k)->lock);
	of(k)->fails = updates;
	of(k)->error = error;
	pthread_mutex_unlock(&of(k)->lock);
}
