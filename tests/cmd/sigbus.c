/* Mapped files that are cut short while they are used (hostile input B8). */
#include "../test.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vio/host/sandbox.h>
#include <vio/host/sigbus.h>

enum { PAGE = 4096, PAGES = 4, MANY = 300, ROUNDS = 300 };

struct file { int fd; volatile unsigned char *base; size_t size; bool dead; };

static struct file map_file(size_t size, unsigned flags)
{
	struct file f = { .fd = memfd_create("cut", MFD_CLOEXEC | flags), .size = size };
	assert_true(f.fd >= 0);
	if (ftruncate(f.fd, (off_t)size))
		return f;
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
	f.base = p == MAP_FAILED ? NULL : p;
	return f;
}

static void unmap_file(struct file *f)
{
	if (f->base)
		munmap((void *)f->base, f->size);
	close(f->fd);
}

static bool dead(const struct file *f) { return __atomic_load_n(&f->dead, __ATOMIC_ACQUIRE); }

/* cmocka handles SIGBUS itself, from the beginning of each test. */
static void begin(void **state)
{
	(void)state;
	assert_true(vio_sigbus_init());
}

static void survives(void **state)
{
	begin(state);
	struct file f = map_file(PAGES * PAGE, 0), neighbour = map_file(PAGES * PAGE, 0);
	assert_true(vio_sigbus_guard((void *)f.base, f.size, &f.dead));
	assert_true(vio_sigbus_guard((void *)neighbour.base, neighbour.size, &neighbour.dead));
	f.base[0] = 1;
	f.base[3 * PAGE] = 4;
	neighbour.base[0] = 5;
	assert_false(dead(&f));
	assert_int_equal(ftruncate(f.fd, PAGE), 0);
	assert_int_equal(f.base[3 * PAGE], 0);		/* zeroes, where there was a 4 */
	assert_true(dead(&f));
	f.base[2 * PAGE + 7] = 9;			/* writing survives as well */
	assert_int_equal(f.base[2 * PAGE + 7], 9);
	assert_int_equal(f.base[0], 1);			/* what the file still has stays */
	assert_false(dead(&neighbour));
	assert_int_equal(neighbour.base[0], 5);
	vio_sigbus_unguard((void *)f.base);
	vio_sigbus_unguard((void *)neighbour.base);
	unmap_file(&f);
	unmap_file(&neighbour);
}

static void huge_pages(void **state)
{
	begin(state);
	size_t huge = (size_t)2 << 20;
	struct file f = map_file(2 * huge, MFD_HUGETLB);
	if (!f.base || madvise((void *)f.base, f.size, MADV_POPULATE_WRITE)) {
		unmap_file(&f);
		SKIP_BECAUSE("no huge pages are set aside on this machine (vm.nr_hugepages)");
	}
	assert_true(vio_sigbus_guard((void *)f.base, f.size, &f.dead));
	assert_int_equal(ftruncate(f.fd, (off_t)huge), 0);
	assert_int_equal(f.base[huge + 5 * PAGE], 0);
	assert_true(dead(&f));
	vio_sigbus_unguard((void *)f.base);
	unmap_file(&f);
}

/* The signal that ends a child which does this, or 0. */
static int ends_with(void (*does)(struct file *f))
{
	struct file f = map_file(PAGES * PAGE, 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (!child) {
		if (vio_sigbus_guard((void *)f.base, f.size, &f.dead) && !ftruncate(f.fd, 0))
			does(&f);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	unmap_file(&f);
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static void touch_after_unguard(struct file *f)
{
	vio_sigbus_unguard((void *)f->base);
	f->base[0] = 1;
}
static void touch_another(struct file *f)
{
	(void)f;
	struct file g = map_file(PAGE, 0);
	if (!ftruncate(g.fd, 0))
		g.base[0] = 1;
}
static void be_sent_one(struct file *f)
{
	(void)f;
	raise(SIGBUS);
}
static void touch_confined(struct file *f)
{
	char why[512];
	const char *lacks;
	if (!vio_sandbox_enter(&(struct vio_sandbox_options){ 0 }, &lacks, why))
		_exit(1);
	f->base[PAGE] = 1;
	_exit(dead(f) && f->base[PAGE] == 1 ? 42 : 2);
}
static void touch_another_confined(struct file *f)
{
	char why[512];
	const char *lacks;
	if (vio_sandbox_enter(&(struct vio_sandbox_options){ 0 }, &lacks, why))
		touch_another(f);
}

static void others_kill(void **state)
{
	begin(state);
	assert_int_equal(ends_with(touch_after_unguard), SIGBUS);
	assert_int_equal(ends_with(touch_another), SIGBUS);
	assert_int_equal(ends_with(be_sent_one), SIGBUS);
	assert_int_equal(ends_with(touch_another_confined), SIGBUS);
}

static void confined(void **state)
{
	begin(state);
	assert_int_equal(ends_with(touch_confined), 42);
}

static void many(void **state)
{
	begin(state);
	static struct file f[MANY];
	for (unsigned i = 0; i < MANY; i++) {
		f[i] = map_file(PAGE, 0);
		assert_true(vio_sigbus_guard((void *)f[i].base, PAGE, &f[i].dead));
	}
	for (unsigned i = 0; i < MANY; i += 3) {
		assert_int_equal(ftruncate(f[i].fd, 0), 0);
		f[i].base[i] = 1;
	}
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(dead(&f[i]), i % 3 == 0);
		vio_sigbus_unguard((void *)f[i].base);
		unmap_file(&f[i]);
	}
}

/* One thread guards and unguards all the time, the other faults: each fault finds its own mapping. */
static atomic_bool over;
static void *churn(void *arg)
{
	(void)arg;
	struct file f = map_file(PAGES * PAGE, 0);
	while (!atomic_load(&over)) {
		bool ok = vio_sigbus_guard((void *)f.base, f.size, &f.dead);
		vio_sigbus_unguard((void *)f.base);
		if (!ok)
			break;
	}
	bool touched = dead(&f);
	unmap_file(&f);
	return touched ? &over : NULL;
}

static void while_others_change(void **state)
{
	begin(state);
	pthread_t thread;
	void *touched;
	assert_int_equal(pthread_create(&thread, NULL, churn, NULL), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct file f = map_file(PAGE, 0);
		assert_true(vio_sigbus_guard((void *)f.base, f.size, &f.dead));
		assert_int_equal(ftruncate(f.fd, 0), 0);
		f.base[1] = 1;
		assert_true(dead(&f));
		vio_sigbus_unguard((void *)f.base);
		unmap_file(&f);
	}
	atomic_store(&over, true);
	pthread_join(thread, &touched);
	assert_null(touched);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(survives, "a guarded mapping that is cut short reads as zeroes and is marked dead, alone"),
		T(huge_pages, "so is one of huge pages"),
		T(many, "any number of mappings can be guarded"),
		T(while_others_change, "faults find their mapping while another thread guards and unguards"),
		T(confined, "the handler works inside the confinement"),
		T(others_kill, "any other SIGBUS ends the process, as a SIGBUS"),
	};
	return vio_tests("sigbus", tests, sizeof tests / sizeof *tests);
}
