/* Sources of random bytes: how many, how fast, and what happens when there are none. */
#include <vio/host/source.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <tests/test.h>

#define MS 1000000u
enum { CAP = 64 * 1024 };

struct rig { struct vio_loop *loop; struct vio_source *source; unsigned ready; };

static void on_ready(void *arg)
{
	struct rig *r = arg;

	r->ready++;
	vio_loop_quit(r->loop);
}

static void rig_open(struct rig *r, struct vio_source_options o)
{
	char why[512] = "";

	*r = (struct rig){ .loop = vio_loop_new() };
	o.loop = r->loop;
	r->source = vio_source_open(&o, why);
	if (!r->source)
		fail_msg("%s", why);
	r->source->ready = on_ready;
	r->source->ready_arg = r;
}

static void rig_close(struct rig *r)
{
	vio_source_close(r->source);
	vio_loop_free(r->loop);
}

static long fill(struct rig *r, void *to, size_t n)
{
	return r->source->ops->fill(r->source, to, n);
}

static void quit_loop(void *arg) { vio_loop_quit(arg); }

static void run_for(struct rig *r, uint64_t ns)
{
	struct vio_timer end = { .fn = quit_loop, .arg = r->loop };

	vio_loop_timer(r->loop, &end, vio_now_ns() + ns);
	vio_loop_run(r->loop);
	vio_loop_untimer(r->loop, &end);
}

static void the_kernel_gives_bytes(void **state)
{
	static unsigned char a[CAP + 100], b[CAP + 100], zero[CAP + 100];
	struct rig r;

	(void)state;
	rig_open(&r, (struct vio_source_options){ 0 });
	assert_int_equal(fill(&r, a, 1), 1);
	assert_int_equal(fill(&r, a, 256), 256);
	assert_int_equal(fill(&r, b, 256), 256);
	assert_memory_not_equal(a, b, 256);
	long n = fill(&r, a, sizeof a);
	assert_in_range(n, 1, CAP);
	assert_memory_equal(a + CAP, zero, 100);
	rig_close(&r);
}

static void the_rate_is_kept(void **state)
{
	unsigned char a[1000];
	struct rig r;

	(void)state;
	rig_open(&r, (struct vio_source_options){ .max_bytes = 1000, .period_ms = 60 });
	uint64_t start = vio_now_ns();
	assert_int_equal(fill(&r, a, 600), 600);
	assert_int_equal(fill(&r, a, 600), 400);
	assert_int_equal(fill(&r, a, 1), 0);
	vio_loop_run(r.loop);
	assert_int_equal(r.ready, 1);
	assert_true(vio_now_ns() - start >= 60 * MS);
	assert_int_equal(fill(&r, a, 1000), 1000);
	assert_int_equal(fill(&r, a, 1), 0);
	rig_close(&r);		/* while it waits */
}

static void a_cancelled_wait_is_silent(void **state)
{
	unsigned char a[10];
	struct rig r;

	(void)state;
	rig_open(&r, (struct vio_source_options){ .max_bytes = 10, .period_ms = 5 });
	assert_int_equal(fill(&r, a, 10), 10);
	assert_int_equal(fill(&r, a, 10), 0);
	r.source->ops->cancel(r.source);
	run_for(&r, 20 * MS);
	assert_int_equal(r.ready, 0);
	assert_int_equal(fill(&r, a, 10), 10);
	rig_close(&r);
}

static void a_file_ends(void **state)
{
	char name[] = "/tmp/vio-source-XXXXXX";
	unsigned char a[32];
	struct rig r;

	(void)state;
	int fd = mkstemp(name);
	assert_int_equal(write(fd, "0123456789", 10), 10);
	rig_open(&r, (struct vio_source_options){ .path = name });
	assert_int_equal(fill(&r, a, 4), 4);
	assert_int_equal(fill(&r, a + 4, 28), 6);
	assert_memory_equal(a, "0123456789", 10);
	assert_int_equal(fill(&r, a, 4), -1);
	assert_int_equal(write(fd, "more", 4), 4);
	assert_int_equal(fill(&r, a, 4), -1);	/* for good */
	rig_close(&r);
	close(fd);
	unlink(name);
}

static void a_pipe_is_waited_for(void **state)
{
	char name[] = "/tmp/vio-source-XXXXXX";
	unsigned char a[32];
	struct rig r;

	(void)state;
	close(mkstemp(name));
	unlink(name);
	assert_int_equal(mkfifo(name, 0600), 0);
	rig_open(&r, (struct vio_source_options){ .path = name });
	assert_int_equal(fill(&r, a, 4), 0);
	run_for(&r, 10 * MS);
	assert_int_equal(r.ready, 0);
	for (unsigned i = 1; i <= 2; i++) {	/* two writers, one after the other */
		int fd = open(name, O_WRONLY);
		assert_int_equal(write(fd, "abc", 3), 3);
		close(fd);
		vio_loop_run(r.loop);
		assert_int_equal(r.ready, i);
		assert_int_equal(fill(&r, a, sizeof a), 3);
		assert_memory_equal(a, "abc", 3);
		assert_int_equal(fill(&r, a, sizeof a), 0);
	}
	run_for(&r, 10 * MS);
	assert_int_equal(r.ready, 2);
	rig_close(&r);
	unlink(name);
}

static void a_device_is_read(void **state)
{
	unsigned char a[64], zero[64] = { 0 };
	struct rig r;

	(void)state;
	rig_open(&r, (struct vio_source_options){ .path = "/dev/urandom" });
	assert_int_equal(fill(&r, a, sizeof a), sizeof a);
	assert_memory_not_equal(a, zero, sizeof a);
	rig_close(&r);
	rig_open(&r, (struct vio_source_options){ .path = "/dev/null" });	/* no poll, and nothing in it */
	assert_int_equal(fill(&r, a, sizeof a), -1);
	rig_close(&r);
}

static void refusals_say_why(void **state)
{
	static const struct { struct vio_source_options o; const char *words; } row[] = {
		{ { .path = "/dev/vio-no-such-source" }, "can't be read" },
		{ { .path = "/tmp" }, "neither a device" },
		{ { .max_bytes = 5 }, "period" },
	};
	struct vio_loop *l = vio_loop_new();

	(void)state;
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		struct vio_source_options o = row[i].o;
		char why[512] = "";
		o.loop = l;
		assert_null(vio_source_open(&o, why));
		assert_non_null(strstr(why, row[i].words));
	}
	vio_loop_free(l);
}

static void the_twin_counts(void **state)
{
	struct rig r = { .loop = vio_loop_new() };
	unsigned char a[300];

	(void)state;
	r.source = vio_source_counting(260);
	r.source->ready = on_ready;
	r.source->ready_arg = &r;
	assert_int_equal(fill(&r, a, sizeof a), 260);
	for (unsigned i = 0; i < 260; i++)
		assert_int_equal(a[i], i % 251);
	vio_source_feed(r.source, 5);		/* nobody waits: nobody is told */
	assert_int_equal(r.ready, 0);
	assert_int_equal(fill(&r, a, 300), 5);
	assert_int_equal(a[0], 260 % 251);
	assert_int_equal(fill(&r, a, 1), 0);
	vio_source_feed(r.source, 1);
	assert_int_equal(r.ready, 1);
	assert_int_equal(fill(&r, a, 300), 1);
	assert_int_equal(fill(&r, a, 1), 0);
	r.source->ops->cancel(r.source);
	vio_source_feed(r.source, 1);
	assert_int_equal(r.ready, 1);
	vio_source_close(r.source);
	r.source = vio_source_counting(0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(fill(&r, a, sizeof a), sizeof a);
	rig_close(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(the_kernel_gives_bytes, "the kernel gives at least one byte, at most 64 KiB, never the same"),
		T(the_rate_is_kept, "a limit of bytes a period is kept, and the next period is told"),
		T(a_cancelled_wait_is_silent, "after cancel nobody is told"),
		T(a_file_ends, "a file that has ended has failed for good"),
		T(a_pipe_is_waited_for, "a pipe is waited for, and its writers may come and go"),
		T(a_device_is_read, "a device is read; one that gives nothing has failed"),
		T(refusals_say_why, "what can't be a source is refused in a sentence"),
		T(the_twin_counts, "the counting twin counts, starves, and is fed"),
	};
	return vio_tests("host-source", tests, sizeof tests / sizeof *tests);
}
