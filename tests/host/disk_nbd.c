/*
 * Network disks: nbdkit and qemu-nbd as servers that nobody here wrote.  A server is handed its listening socket, which stays
 * ours: so there is no moment to wait for, and one that is killed has a successor at the same place.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <tests/host/image.h>
#include <vio/host/disk_nbd.h>

enum { SIZE = 8 << 20, BLOCK = 4096, BLOCKS = SIZE / BLOCK };

struct server {
	char folder[64], socket[96], image[96], uri[128];
	const char *const *argv;
	int listener;
	pid_t pid;
	unsigned lost, back;
	char why[VIO_WHY];
};

static void listen_at(struct server *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	unlink(s->socket);
	s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(a.sun_path, s->socket, strlen(s->socket));
	assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(s->listener, 16), 0);
}

/* Returns when our descriptors are not the child's any more: a socket of ours that is closed must really be closed. */
static void run(struct server *s)
{
	int gone[2];
	char byte;

	assert_int_equal(pipe2(gone, O_CLOEXEC), 0);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid) {
		close(gone[1]);
		assert_int_equal(read(gone[0], &byte, 1), 0);
		close(gone[0]);
		return;
	}
	char pid[16];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
	if (dup2(s->listener, 3) != 3)
		_exit(126);
	fcntl(3, F_SETFD, 0);
	execvp(s->argv[0], (char *const *)(uintptr_t)s->argv);
	_exit(127);
}

static void kill_server(struct server *s)
{
	kill(s->pid, SIGKILL);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
	s->pid = 0;
}

static bool installed(const char *program)
{
	char path[64];

	snprintf(path, sizeof path, "/usr/bin/%s", program);
	return access(path, X_OK) == 0;
}

/* With a folder, in which there is an image of SIZE bytes. */
static void begin(struct server *s)
{
	*s = (struct server){ .listener = -1 };
	snprintf(s->folder, sizeof s->folder, "/tmp/vio-nbd-XXXXXX");
	assert_non_null(mkdtemp(s->folder));
	snprintf(s->socket, sizeof s->socket, "%s/s", s->folder);
	snprintf(s->image, sizeof s->image, "%s/image", s->folder);
	snprintf(s->uri, sizeof s->uri, "nbd+unix:///?socket=%s", s->socket);
	int fd = open(s->image, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
}

static void serve(struct server *s, const char *const *argv)
{
	if (!installed(argv[0]))
		skip_because("the server is not installed: scripts/bootstrap test");
	s->argv = argv;
	listen_at(s);
	run(s);
}

static void end(struct server *s)
{
	if (s->pid)
		kill_server(s);
	if (s->listener >= 0)
		close(s->listener);
	unlink(s->socket);
	unlink(s->image);
	rmdir(s->folder);
}

static void news(void *arg, bool back, const char *why)
{
	struct server *s = arg;

	*(back ? &s->back : &s->lost) += 1;
	snprintf(s->why, sizeof s->why, "%s", why);
}

static struct vio_disk *open_nbd(struct server *s, struct vio_disk_nbd_options o, char *why)
{
	why[0] = 0;
	o.uri = o.uri ? o.uri : s->uri;
	o.news = news;
	o.news_arg = s;
	struct vio_disk *d = vio_disk_nbd_open(&o, why);
	assert_true((d == NULL) == (why[0] != 0));
	return d;
}

static void use(struct rig *r, struct server *s, struct vio_disk_nbd_options o)
{
	char why[VIO_WHY];

	rig_init(r);
	o.place = rig_place(r);
	struct vio_disk *d = open_nbd(s, o, why);
	if (!d)
		fail_msg("%s", why);
	rig_use(r, d);
}

#define ARGV(...) (const char *const[]){ __VA_ARGS__, NULL }
#define MEMORY ARGV("nbdkit", "-f", "memory", "8M")
/* Writes stay in its cache until a flush: when it is killed they are lost. */
#define VOLATILE(s) ARGV("nbdkit", "-f", "--filter=cache", "file", (s)->image, "cache=writeback")

/* ---- Reading, writing, the rest ---- */

static unsigned char model[SIZE], there[SIZE];

static void must_hold(struct rig *r)
{
	assert_int_equal(rig_move(r, VIO_DISK_READ, 0, there, SIZE), 0);
	for (unsigned i = 0; i < BLOCKS; i++)
		if (memcmp(model + i * BLOCK, there + i * BLOCK, BLOCK))
			fail_msg("block %u holds %02x instead of %02x", i, there[i * BLOCK], model[i * BLOCK]);
}

static void one_of_many(struct rig *r)
{
	uint32_t n = 512 * (1 + rig_random(r, 600)), at = 512 * rig_random(r, SIZE / 512 - 600);
	struct rig_io q = { .io = { .op = rig_random(r, 4) ? VIO_DISK_WRITE : VIO_DISK_ZERO, .offset = at, .length = n,
		.durable = rig_random(r, 2), .may_unmap = rig_random(r, 2) } };

	if (q.io.op == VIO_DISK_WRITE) {
		for (uint32_t i = 0; i < n; i++)
			model[at + i] = (unsigned char)rig_random(r, 256);
		rig_cut(r, &q, n, 1, 9000);
		rig_fill(&q, model + at);
	} else {
		memset(model + at, 0, n);
	}
	rig_submit(r, &q);
	rig_settle(r);
	assert_int_equal(q.error, 0);
	assert_int_equal(q.ended, 1);
	rig_free(&q);
	struct rig_io back = { .io = { .op = VIO_DISK_READ, .offset = at, .length = n } };
	rig_cut(r, &back, n, 1, 9000);
	rig_submit(r, &back);
	rig_settle(r);
	assert_int_equal(back.error, 0);
	rig_take(&back, there);
	assert_memory_equal(there, model + at, n);
	assert_true(rig_gaps_whole(&back));
	rig_free(&back);
}

/* What the server can do, by its options. */
static void does_it_all(void **state)
{
	static const char *const way[][3] = {
		{ NULL, NULL, NULL },
		{ "--filter=fua", "fuamode=emulate", NULL },
		{ "--filter=nozero", "zeromode=none", NULL },
		{ "--filter=nozero", "zeromode=emulate", "fastzeromode=slow" },
		{ "--filter=nozero", "zeromode=plugin", "fastzeromode=none" },
		{ "--filter=blocksize-policy", "blocksize-maximum=64k", "blocksize-error-policy=error" },
	};
	(void)state;
	for (unsigned i = 0; i < sizeof way / sizeof *way; i++) {
		struct server s;
		struct rig r;
		const char *const plain[] = { "nbdkit", "-f", "memory", "8M", NULL };
		const char *const filtered[] = { "nbdkit", "-f", way[i][0], "memory", "8M", way[i][1], way[i][2], NULL };

		begin(&s);
		serve(&s, way[i][0] ? filtered : plain);
		use(&r, &s, (struct vio_disk_nbd_options){ 0 });
		assert_int_equal(r.disk->size, SIZE);
		assert_true(r.disk->can_zero && !r.disk->can_erase && r.disk->can_discard);
		memset(model, 0, sizeof model);
		for (unsigned n = 0; n < 60; n++)
			one_of_many(&r);
		assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
		must_hold(&r);
		assert_int_equal(rig_range(&r, VIO_DISK_DISCARD, 0, SIZE), 0);
		assert_int_equal(rig_range(&r, VIO_DISK_ERASE, 0, SIZE), ENOTSUP);
		assert_int_equal(rig_move(&r, VIO_DISK_READ, SIZE, there, 512), EIO);
		rig_end(&r);
		assert_int_equal(s.lost, 0);
		end(&s);
	}
}

/* More than fits into the rings, and more than there are commands. */
static void many_at_once(void **state)
{
	enum { MANY = 700, EACH = 128 << 10 };
	static struct rig_io q[MANY];
	struct server s;
	struct rig r;

	(void)state;
	begin(&s);
	serve(&s, MEMORY);
	use(&r, &s, (struct vio_disk_nbd_options){ 0 });
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < MANY; i++) {
			q[i] = (struct rig_io){ .io = { .op = round ? VIO_DISK_READ : VIO_DISK_WRITE, .offset = i % 64 * EACH } };
			rig_cut(&r, &q[i], EACH, 512, 16384);
			memset(there, (int)(i % 64), EACH);
			if (!round)
				rig_fill(&q[i], there);
			rig_submit(&r, &q[i]);
		}
		rig_settle(&r);
		for (unsigned i = 0; i < MANY; i++) {
			assert_int_equal(q[i].error, 0);
			rig_take(&q[i], there);
			assert_int_equal(there[0], i % 64);
			assert_int_equal(there[EACH - 1], i % 64);
			rig_free(&q[i]);
		}
	}
	rig_end(&r);
	end(&s);
}

static void an_error_is_the_requests_own(void **state)
{
	struct server s;
	struct rig r;

	(void)state;
	begin(&s);
	serve(&s, ARGV("nbdkit", "-f", "--filter=error", "memory", "8M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%",
	    "error-trim=EIO", "error-trim-rate=100%"));
	use(&r, &s, (struct vio_disk_nbd_options){ 0 });
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, model, BLOCK), ENOSPC);
	assert_int_equal(rig_range(&r, VIO_DISK_DISCARD, 0, BLOCK), EIO);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, there, BLOCK), 0);
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	rig_end(&r);
	assert_int_equal(s.lost, 0);
	end(&s);
}

static void a_failed_flush_stays(void **state)
{
	char once[256];
	struct server s;
	struct rig r;

	(void)state;
	begin(&s);
	snprintf(once, sizeof once, "flush=[ -e %s/once ] || { touch %s/once; echo EIO >&2; exit 1; }", s.folder, s.folder);
	serve(&s, ARGV("nbdkit", "-f", "eval", "get_size=echo 8M", "pread=head -c $3 /dev/zero", "pwrite=cat >/dev/null", once));
	use(&r, &s, (struct vio_disk_nbd_options){ 0 });
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, model, BLOCK), 0);
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), EIO);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, model, BLOCK), 0);
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), EIO);
	rig_end(&r);
	snprintf(once, sizeof once, "%s/once", s.folder);
	assert_int_equal(unlink(once), 0);
	end(&s);
}

/* ---- A server that goes ---- */

/* When so many of the requests under way have ended the server is killed, and another one started. */
static struct { struct server *server; unsigned after; } doom;

static void doomed_done(struct vio_disk_io *io, int error)
{
	rig_done(io, error);
	if (!doom.server || doom.after-- != 0)
		return;
	kill_server(doom.server);
	run(doom.server);
	doom.server = NULL;
}

/* 16 writes at once, each to a block of its own. */
static void write_sixteen(struct rig *r, unsigned round)
{
	enum { N = 16 };
	struct rig_io q[N];

	for (unsigned i = 0; i < N; i++) {
		uint32_t block = (rig_random(r, BLOCKS / N) * N + i) % 512;	/* so that some are written again and again */
		bool zero = rig_random(r, 8) == 0;
		q[i] = (struct rig_io){ .rig = r, .io = { .op = zero ? VIO_DISK_ZERO : VIO_DISK_WRITE, .offset = block * BLOCK, .length = BLOCK,
			.done = doomed_done, .durable = rig_random(r, 5) == 0 } };
		memset(model + block * BLOCK, zero ? 0 : (int)(1 + (round * N + i) % 255), BLOCK);
		if (!zero) {
			rig_cut(r, &q[i], BLOCK, 512, 2048);
			rig_fill(&q[i], model + block * BLOCK);
		}
	}
	for (unsigned i = 0; i < N; i++) {
		r->in_flight++;
		r->chan->ops->submit(r->chan, &q[i].io);
	}
	rig_settle(r);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(q[i].error, 0);
		rig_free(&q[i]);
	}
}

static void no_write_is_lost(void **state)
{
	struct server s;
	struct rig r;

	(void)state;
	begin(&s);
	serve(&s, VOLATILE(&s));
	use(&r, &s, (struct vio_disk_nbd_options){ 0 });
	memset(model, 0, sizeof model);
	for (unsigned round = 0; round < 120; round++) {
		if (round % 10 == 5) {
			doom.server = &s;
			doom.after = rig_random(&r, 16);
		}
		if (round % 25 == 20)
			assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
		write_sixteen(&r, round);
	}
	must_hold(&r);
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	assert_true(s.lost >= 10 && s.back == s.lost);
	rig_end(&r);
	/* What a flush has promised needs none of us any more. */
	kill_server(&s);
	run(&s);
	use(&r, &s, (struct vio_disk_nbd_options){ 0 });
	must_hold(&r);
	rig_end(&r);
	end(&s);
}

static void stop_loop(void *arg) { vio_loop_quit(arg); }

static void turn(struct rig *r, uint64_t ns)
{
	struct vio_timer t = { .fn = stop_loop, .arg = r->loop };

	vio_loop_timer(r->loop, &t, vio_now_ns() + ns);
	vio_loop_run(r->loop);
	vio_loop_untimer(r->loop, &t);
}

static void requests_wait_and_can_be_cancelled(void **state)
{
	unsigned char bytes[BLOCK] = { 7 };
	struct vio_seg seg = { bytes, BLOCK };
	struct rig_io q[3];
	struct server s;
	struct rig r;

	(void)state;
	begin(&s);
	serve(&s, VOLATILE(&s));
	use(&r, &s, (struct vio_disk_nbd_options){ 0 });
	kill_server(&s);
	close(s.listener);		/* nobody answers any more */
	for (unsigned i = 0; i < 3; i++) {
		q[i] = (struct rig_io){ .io = { .op = i < 2 ? VIO_DISK_WRITE : VIO_DISK_FLUSH, .offset = i * BLOCK, .length = i < 2 ? BLOCK : 0,
			.bytes = { .seg = &seg, .left = BLOCK } } };
		rig_submit(&r, &q[i]);
	}
	while (!s.lost)
		turn(&r, 10000000);
	assert_int_equal(q[0].ended + q[1].ended + q[2].ended, 0);
	r.chan->ops->cancel(r.chan, &q[2].io);
	r.chan->ops->cancel(r.chan, &q[0].io);
	assert_int_equal(q[2].ended, 1);
	assert_int_equal(q[2].error, ECANCELED);
	assert_int_equal(q[0].error, ECANCELED);
	listen_at(&s);
	run(&s);
	rig_settle(&r);
	assert_int_equal(q[1].ended, 1);
	assert_int_equal(q[1].error, 0);
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	rig_end(&r);
	end(&s);
}

static void another_disk_is_not_taken(void **state)
{
	struct server s;
	struct rig r;

	(void)state;
	begin(&s);
	serve(&s, VOLATILE(&s));
	use(&r, &s, (struct vio_disk_nbd_options){ 0 });
	kill_server(&s);
	s.argv = ARGV("nbdkit", "-f", "memory", "4M");
	run(&s);
	while (!strstr(s.why, "instead of"))
		turn(&r, 10000000);
	s.argv = VOLATILE(&s);
	kill_server(&s);
	run(&s);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, there, BLOCK), 0);
	rig_end(&r);
	end(&s);
}

/* Each in the way of the one before: what is kept is written again in its order. */
static void kept_writes_keep_their_order(void **state)
{
	struct server s;
	struct rig r;

	(void)state;
	begin(&s);
	serve(&s, VOLATILE(&s));
	use(&r, &s, (struct vio_disk_nbd_options){ 0 });
	memset(model, 0, sizeof model);
	for (unsigned i = 1; i <= 200; i++) {
		memset(model + i % 3 * 512, (int)i, 8192);
		assert_int_equal(rig_move(&r, VIO_DISK_WRITE, i % 3 * 512, model + i % 3 * 512, 8192), 0);
	}
	kill_server(&s);
	run(&s);
	must_hold(&r);
	rig_end(&r);
	end(&s);
}

static void kept_writes_have_a_limit(void **state)
{
	struct server s;
	struct rig r;

	(void)state;
	begin(&s);
	serve(&s, MEMORY);
	use(&r, &s, (struct vio_disk_nbd_options){ 0 });
	struct vio_nbd_conn *c = ((struct vio_nbd *)r.disk)->conn[0];
	for (unsigned i = 0; i < 12; i++) {
		assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, model, SIZE), 0);
		assert_true(c->writes.used <= c->writes.size);
	}
	assert_true(c->writes.used > 0);
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	assert_int_equal(c->writes.used, 0);
	assert_int_equal(c->reads.used, 0);
	rig_end(&r);
	end(&s);
}

/* ---- Opening ---- */

static void refused(struct server *s, struct vio_disk_nbd_options o, const char *words)
{
	char why[VIO_WHY];
	struct rig r;

	rig_init(&r);
	if (!o.place.loops)
		o.place = rig_place(&r);
	struct vio_disk *d = open_nbd(s, o, why);
	assert_null(d);
	if (!strstr(why, words))
		fail_msg("\"%s\" does not say \"%s\"", why, words);
	vio_loop_free(r.loop);
}

static void refusals_name_the_remedy(void **state)
{
	struct vio_loop *loops[2] = { vio_loop_new(), vio_loop_new() };
	struct vio_disk_place two = { loops, 2 };
	static const struct { const char *filter, *option, *words; unsigned loops; uint32_t block; } row[] = {
		{ "--filter=nofilter", "-r", "use --read-only", 1, 0 },
		{ "--filter=truncate", "truncate=1000001", "truncate round-up=512", 1, 0 },
		{ "--filter=blocksize-policy", "blocksize-minimum=4k", "--logical-block-size=4096", 1, 512 },
		{ "--filter=multi-conn", "multi-conn-mode=disable", "--threads=1", 2, 0 },
	};
	struct server s;

	(void)state;
	begin(&s);
	refused(&s, (struct vio_disk_nbd_options){ 0 }, "start it first");
	refused(&s, (struct vio_disk_nbd_options){ .uri = "nbd+unix:///" }, "can't be used");
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		bool flag = row[i].option[0] == '-';
		serve(&s, ARGV("nbdkit", "-f", flag ? row[i].option : row[i].filter, "memory", "8M", flag ? NULL : row[i].option));
		refused(&s, (struct vio_disk_nbd_options){ .place = row[i].loops == 2 ? two : (struct vio_disk_place){ NULL, 0 },
			.logical_block = row[i].block }, row[i].words);
		kill_server(&s);
		close(s.listener);
	}
	s.listener = -1;
	vio_loop_free(loops[0]);
	vio_loop_free(loops[1]);
	end(&s);
}

static void what_the_server_says(void **state)
{
	struct server s;
	struct rig r;

	(void)state;
	begin(&s);
	serve(&s, ARGV("nbdkit", "-f", "-r", "--filter=blocksize-policy", "memory", "8M", "blocksize-minimum=4k", "blocksize-preferred=16k"));
	use(&r, &s, (struct vio_disk_nbd_options){ .read_only = true });
	assert_true(r.disk->read_only && !r.disk->can_discard && !r.disk->can_zero);
	assert_int_equal(r.disk->logical_block, 4096);
	assert_int_equal(r.disk->physical_block, 16384);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, there, SIZE), 0);
	rig_end(&r);
	end(&s);
}

/* A connection a loop; both loops are run by this thread here, one after the other. */
static void several_connections(void **state)
{
	struct vio_loop *loops[2] = { vio_loop_new(), vio_loop_new() };
	char why[VIO_WHY];
	struct server s;
	struct rig r[2] = { { .loop = loops[0] }, { .loop = loops[1] } };

	(void)state;
	begin(&s);
	serve(&s, MEMORY);
	struct vio_disk *d = open_nbd(&s, (struct vio_disk_nbd_options){ .place = { loops, 2 } }, why);
	if (!d)
		fail_msg("%s", why);
	struct vio_nbd *n = (struct vio_nbd *)d;
	assert_int_equal(n->conns, 2);
	assert_true(n->fua_always);
	for (unsigned i = 0; i < 2; i++) {
		r[i].disk = d;
		r[i].chan = d->ops->channel(d, i);
	}
	memset(model, 3, BLOCK);
	assert_int_equal(rig_move(&r[0], VIO_DISK_WRITE, 0, model, BLOCK), 0);
	assert_int_equal(rig_move(&r[1], VIO_DISK_READ, 0, there, BLOCK), 0);
	assert_memory_equal(model, there, BLOCK);
	assert_int_equal(n->conn[0]->writes.used, 0);		/* durable: nothing is kept */
	for (unsigned i = 0; i < 2; i++)
		r[i].chan->ops->close(r[i].chan);
	vio_disk_close(d);
	vio_loop_free(loops[0]);
	vio_loop_free(loops[1]);
	end(&s);
}

/* ---- Foreign formats ---- */

static void command(const char *format, const char *image, const char *raw)
{
	char line[512];

	snprintf(line, sizeof line, format, image, raw);
	if (system(line))
		fail_msg("%s failed", line);
}

static void foreign_format(void **state)
{
	const char *name = *state;
	char make[128], raw[128], convert[128];
	struct server s;
	struct rig r;

	begin(&s);
	if (!installed("qemu-nbd") || !installed("qemu-img")) {
		end(&s);
		skip_because("qemu-nbd is not installed: scripts/bootstrap test");
	}
	snprintf(make, sizeof make, "qemu-img create -q -f %s %%s 8M", name);
	command(make, s.image, NULL);
	serve(&s, ARGV("qemu-nbd", "--persistent", "--cache=writeback", "--discard=unmap", "-f", name, s.image));
	use(&r, &s, (struct vio_disk_nbd_options){ 0 });
	assert_int_equal(r.disk->size, SIZE);
	memset(model, 0, sizeof model);
	for (unsigned n = 0; n < 60; n++)
		one_of_many(&r);
	if (!strcmp(name, "qcow2")) {		/* killed with its tables in memory: the image would not know these writes */
		kill_server(&s);
		run(&s);
	}
	for (unsigned n = 0; n < 20; n++)
		one_of_many(&r);
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	must_hold(&r);
	rig_end(&r);
	kill(s.pid, SIGTERM);
	assert_int_equal(waitpid(s.pid, NULL, 0), s.pid);
	s.pid = 0;
	snprintf(raw, sizeof raw, "%s/raw", s.folder);
	snprintf(convert, sizeof convert, "qemu-img convert -f %s -O raw %%s %%s", name);
	command(convert, s.image, raw);
	int fd = open(raw, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, there, SIZE), SIZE);
	close(fd);
	unlink(raw);
	assert_memory_equal(model, there, SIZE);
	end(&s);
}

static const struct CMUnitTest tests[] = {
	T(does_it_all, "an NBD disk reads, writes, zeroes, discards and flushes, whatever its server can"),
	T(many_at_once, "more requests than fit wait in line"),
	T(an_error_is_the_requests_own, "a server's error is the request's, and the next one is served"),
	T(a_failed_flush_stays, "after a failed flush no later one promises anything"),
	T(no_write_is_lost, "a server with a cache is killed in the middle of writes, again and again: no acknowledged write is lost"),
	T(kept_writes_keep_their_order, "overlapping writes that are made again end as they were"),
	T(kept_writes_have_a_limit, "what is kept for a server's end has a limit, and goes with a flush"),
	T(requests_wait_and_can_be_cancelled, "while there is no server requests wait, and can be cancelled"),
	T(another_disk_is_not_taken, "a server that comes back with another disk is not taken"),
	T(refusals_name_the_remedy, "what can't be served is refused in a sentence that names the remedy"),
	T(what_the_server_says, "block sizes and read-only are the server's word"),
	T(several_connections, "two loops have two connections, and each write is durable"),
	TS(foreign_format, "qcow2 by qemu-nbd, killed on the way: its own tools find what was written", "qcow2"),
	TS(foreign_format, "VMDK by qemu-nbd: its own tools find what was written", "vmdk"),
	TS(foreign_format, "VHDX by qemu-nbd: its own tools find what was written", "vhdx"),
};

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	return vio_tests("NBD disk", tests, sizeof tests / sizeof *tests);
}
