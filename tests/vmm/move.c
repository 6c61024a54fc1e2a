/* Snapshots and migrations: what arrives, what is refused, and that until the machine is handed over its source stays as it was. */
#include "bed.h"
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <vmm/migrate.h>
#include <vmm/x86/machine.h>

/* Writes into each of 512 pages, for ever. */
GUEST(guest_busy, "2: mov $0x400000, %rdi; 1: incq (%rdi); add $4096, %rdi; cmp $0x600000, %rdi; jb 1b; incq 0x200000; jmp 2b");

/* ---- Channels: a file in memory; a socket that is cut after so many bytes ---- */

struct wire { struct vio_channel c; int fd; uint64_t left; };

static ssize_t wire_read(struct vio_channel *c, void *to, size_t n)
{
	struct wire *w = (struct wire *)c;
	ssize_t got = read(w->fd, to, n);
	return got < 0 ? -errno : got;
}

static ssize_t wire_write(struct vio_channel *c, const void *from, size_t n)
{
	struct wire *w = (struct wire *)c;
	if (n > w->left)
		n = w->left;
	if (!n) {
		shutdown(w->fd, SHUT_RDWR);
		return -EPIPE;
	}
	ssize_t done = send(w->fd, from, n, MSG_NOSIGNAL);
	if (done < 0 && errno == ENOTSOCK)
		done = write(w->fd, from, n);
	if (done > 0)
		w->left -= (uint64_t)done;
	return done < 0 ? -errno : done;
}

static void wire_shut(struct vio_channel *c) { shutdown(((struct wire *)c)->fd, SHUT_RDWR); }

static void wire_close(struct vio_channel *c)
{
	close(((struct wire *)c)->fd);
	free(c);
}

static struct vio_channel *wire(int fd, uint64_t left)
{
	static const struct vio_channel_ops ops = { wire_read, wire_write, wire_shut, wire_close };
	struct wire *w = calloc(1, sizeof *w);
	*w = (struct wire){ .c.ops = &ops, .fd = fd, .left = left };
	return &w->c;
}

/* ---- Snapshots ---- */

struct shot { unsigned char *bytes; size_t n; };

static struct shot take_shot(struct bed *b)
{
	int fd = memfd_create("shot", MFD_CLOEXEC);
	struct vio_channel *c = wire(dup(fd), UINT64_MAX);
	if (!vmm_snapshot(b->m, c, b->why))
		fail_msg("%s", b->why);
	vio_channel_close(c);
	struct shot s = { .n = (size_t)lseek(fd, 0, SEEK_END) };
	s.bytes = malloc(s.n);
	assert_int_equal(pread(fd, s.bytes, s.n, 0), s.n);
	close(fd);
	return s;
}

static bool restore(struct bed *b, const unsigned char *bytes, size_t n)
{
	int fd = memfd_create("shot", MFD_CLOEXEC);
	assert_int_equal(write(fd, bytes, n), n);
	lseek(fd, 0, SEEK_SET);
	struct vio_channel *c = wire(fd, 0);
	b->why[0] = 0;
	bool ok = vmm_restore(b->m, c, b->why);
	vio_channel_close(c);
	return ok;
}

static void with_rng(struct bed *b, struct rng *r, enum vmm_wire wire)
{
	make(b, wire);
	assert_non_null(attach(b, r, "rng0", 0));
}

static void without_rng(struct bed *b, struct rng *r)
{
	vmm_detach(vmm_device_named(b->m, "rng0"));
	vio_loop_ask(vio_thread_loop(b->thread), close_rng, r);
	unmake(b);
}

static void test_snapshot(void **state)
{
	enum vmm_wire wire = *state ? VMM_WIRE_MMIO : VMM_WIRE_PCI;
	struct bed a, b;
	struct rng r = { 0 }, s = { 0 };
	NEEDS_KVM();
	with_rng(&a, &r, wire);
	BOOT(&a, guest_count);
	vmm_resume(a.m);
	wait_for_progress(&a);
	struct shot shot = take_shot(&a);
	assert_true(vmm_running(a.m));
	wait_for_progress(&a);
	vmm_pause(a.m);
	uint64_t later = counter(&a);

	with_rng(&b, &s, wire);
	if (!restore(&b, shot.bytes, shot.n))
		fail_msg("%s", b.why);
	uint64_t then = counter(&b);
	assert_true(then > 0 && then <= later);
	assert_memory_equal(b.m->memory.base + VMM_AT_KERNEL, a.m->memory.base + VMM_AT_KERNEL, 64);
	vmm_resume(b.m);
	wait_for_progress(&b);
	/* It never was booted here, and has nothing to begin again with until it is told. */
	assert_false(vmm_reset(b.m, b.why));
	assert_non_null(strstr(b.why, "--kernel"));
	vmm_set_kernel(b.m, &a.m->kernel);
	assert_true(vmm_reset(b.m, b.why));
	wait_for_progress(&b);
	free(shot.bytes);
	without_rng(&a, &r);
	without_rng(&b, &s);
}

static void test_other_machines(void **state)
{
	struct bed a, b;
	struct rng r = { 0 }, s = { 0 };
	(void)state;
	NEEDS_KVM();
	with_rng(&a, &r, VMM_WIRE_PCI);
	BOOT(&a, guest_count);
	struct shot shot = take_shot(&a);
	static const struct { const char *what; uint64_t memory; unsigned cpus; enum vmm_wire wire; unsigned slot; const char *sentence; } rows[] = {
		{ "less memory", 14 << 20, 2, VMM_WIRE_PCI, 1, "give --memory=16M" },
		{ "fewer vCPUs", 16 << 20, 1, VMM_WIRE_PCI, 1, "give --cpus=2" },
		{ "the other wire", 16 << 20, 2, VMM_WIRE_MMIO, 1, "give --transport" },
		{ "no device", 16 << 20, 2, VMM_WIRE_PCI, 0, "give it the same" },
		{ "the device elsewhere", 16 << 20, 2, VMM_WIRE_PCI, 7, "nothing there" },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		make(&b, rows[i].wire);
		vmm_free(b.m);
		struct vmm_options o = options_of(&b, rows[i].wire);
		o.memory = rows[i].memory;
		o.cpus = rows[i].cpus;
		b.m = vmm_new(&o, b.why);
		assert_non_null(b.m);
		if (rows[i].slot)
			assert_non_null(attach(&b, &s, "rng0", rows[i].slot));
		if (restore(&b, shot.bytes, shot.n) || !strstr(b.why, rows[i].sentence))
			fail_msg("%s: \"%s\"", rows[i].what, b.why);
		if (rows[i].slot)
			without_rng(&b, &s);
		else
			unmake(&b);
	}
	free(shot.bytes);
	without_rng(&a, &r);
}

/* ---- The local timer ---- */

enum { LVT_TIMER = 0x320, SPURIOUS = 0xf0, DEADLINE_MODE = 0x40000, MSR_TSC = 0x10, MSR_TSC_DEADLINE = 0x6e0 };

static uint64_t msr(const struct vmm_vcpu *v, uint32_t index)
{
	struct kvm_msr_entry e = { .index = index };
	assert_true(vmm_x86_msr(v->fd, KVM_GET_MSRS, &e));
	return e.data;
}

static void set_apic(struct kvm_lapic_state *l, unsigned at, uint32_t v) { memcpy(l->regs + at, &v, sizeof v); }

/* A processor that sleeps until its timer's deadline would sleep for ever without it. */
static void test_deadline(void **state)
{
	struct bed a, b;
	static unsigned char bytes[VMM_ARCH_STATE];
	struct kvm_lapic_state apic;
	(void)state;
	NEEDS_KVM();
	make(&a, VMM_WIRE_PCI);
	make(&b, VMM_WIRE_PCI);
	struct vmm_vcpu *v = &a.m->vcpu[0], *w = &b.m->vcpu[0];
	assert_int_equal(vmm_ioctl(v->fd, KVM_GET_LAPIC, &apic), 0);
	set_apic(&apic, SPURIOUS, 0x1ff);
	set_apic(&apic, LVT_TIMER, DEADLINE_MODE | 0x40);
	assert_int_equal(vmm_ioctl(v->fd, KVM_SET_LAPIC, &apic), 0);
	struct kvm_msr_entry deadline = { .index = MSR_TSC_DEADLINE, .data = msr(v, MSR_TSC) + (UINT64_C(1) << 44) };
	assert_true(vmm_x86_msr(v->fd, KVM_SET_MSRS, &deadline));
	if (msr(v, MSR_TSC_DEADLINE) != deadline.data)
		SKIP_BECAUSE("this KVM's timer knows no deadlines");
	size_t n = vmm_arch_save(a.m, 0, bytes, sizeof bytes);
	assert_true(n <= sizeof bytes);
	assert_null(vmm_arch_load(b.m, 0, bytes, n));
	assert_int_equal(msr(w, MSR_TSC_DEADLINE), deadline.data);
	unmake(&a);
	unmake(&b);
}

/* ---- Damage ---- */

static size_t record_at(const unsigned char *p, struct vmm_record *r)
{
	memcpy(r, p, sizeof *r);
	return sizeof *r + vio_le32_get(r->length);
}

static void set_checksum(unsigned char *p)
{
	struct vmm_record r;
	size_t n = record_at(p, &r);
	r.checksum = vio_le32_of(vmm_crc(vmm_crc(0, &r, offsetof(struct vmm_record, checksum)), p + sizeof r, n - sizeof r));
	memcpy(p, &r, sizeof r);
}

/* At each record's edge and each byte of its head, and at some of its bytes. */
static void test_cut(void **state)
{
	struct bed a;
	struct rng r = { 0 };
	size_t cuts = 0;
	(void)state;
	NEEDS_KVM();
	with_rng(&a, &r, VMM_WIRE_PCI);
	BOOT(&a, guest_count);
	struct shot shot = take_shot(&a);
	for (size_t i = 0; i < 16; i++)
		assert_false(restore(&a, shot.bytes, i));
	for (size_t at = 16, n; at < shot.n; at += n) {
		struct vmm_record rec;
		n = record_at(shot.bytes + at, &rec);
		for (size_t i = 0; i < n; i += i < sizeof rec ? 1 : n / 7 + 1, cuts++) {
			if (restore(&a, shot.bytes, at + i))
				fail_msg("cut after %zu of %zu bytes, it was taken", at + i, shot.n);
			assert_true(a.why[0]);
		}
	}
	assert_true(cuts > 100);
	assert_true(restore(&a, shot.bytes, shot.n));
	free(shot.bytes);
	without_rng(&a, &r);
}

static void test_damaged(void **state)
{
	struct bed a;
	struct rng r = { 0 };
	(void)state;
	NEEDS_KVM();
	with_rng(&a, &r, VMM_WIRE_PCI);
	BOOT(&a, guest_count);
	struct shot shot = take_shot(&a);
	for (size_t at = 0; at < shot.n; at += at < 200 ? 1 : 331) {
		shot.bytes[at] ^= 0x20;
		if (restore(&a, shot.bytes, shot.n))
			fail_msg("byte %zu of %zu was changed, and it was taken", at, shot.n);
		shot.bytes[at] ^= 0x20;
	}
	/* With a checksum that fits: whatever is said of it, the machine stands. */
	for (size_t at = 16, n; at < shot.n; at += n) {
		struct vmm_record rec;
		n = record_at(shot.bytes + at, &rec);
		unsigned kind = vio_le32_get(rec.kind);
		for (size_t i = 0; i < n; i += i < 64 ? 1 : n / 11 + 1) {
			if (i >= offsetof(struct vmm_record, length) && i < sizeof rec)
				continue;
			shot.bytes[at + i] ^= 0xff;
			set_checksum(shot.bytes + at);
			bool ok = restore(&a, shot.bytes, shot.n);
			assert_true(ok || a.why[0]);
			if (ok && (kind == VMM_RECORD_MACHINE || (i < sizeof rec && kind != VMM_RECORD_END)))
				assert_true(i >= 4 && i < 8);	/* an instance that means nothing there */
			shot.bytes[at + i] ^= 0xff;
			set_checksum(shot.bytes + at);
		}
	}
	assert_true(restore(&a, shot.bytes, shot.n));
	free(shot.bytes);
	without_rng(&a, &r);
}

/* ---- Migration: the destination's home loop has a thread of its own ---- */

struct end {
	struct bed b;
	struct rng r;
	pthread_t thread;
	bool came, gave, took, give_fails, take_fails;
	enum vmm_moved moved;
	struct vmm_moving_told told;
	char said[VIO_WHY];
};

static bool give(void *arg, char *why)
{
	struct end *e = arg;
	e->gave = true;
	return !e->give_fails || vio_refuse(why, "the disk is nailed down");
}

static bool take(void *arg, char *why)
{
	struct end *e = arg;
	e->took = true;
	return !e->take_fails || vio_refuse(why, "the disk is another's");
}

static void moved(void *arg, enum vmm_moved m, const struct vmm_moving_told *told, const char *why)
{
	struct end *e = arg;
	e->came = true;
	e->moved = m;
	e->told = *told;
	snprintf(e->said, sizeof e->said, "%s", why);
	vio_loop_quit(e->b.home);
}

static struct vmm_moving moving(struct end *e, int fd, uint64_t left)
{
	return (struct vmm_moving){ .channel = wire(fd, left), .give = give, .take = take, .done = moved, .arg = e };
}

static void *run_home(void *arg)
{
	struct end *e = arg;
	vio_loop_run(e->b.home);
	return NULL;
}

static void begin_to(struct end *to, int fd, uint64_t left)
{
	struct vmm_moving how = moving(to, fd, left);
	assert_true(vmm_receive(to->b.m, &how, to->b.why));
	pthread_create(&to->thread, NULL, run_home, to);
}

struct trip { struct end from, to; int pair[2]; };

static void set_out(struct trip *t, const unsigned char *code, const unsigned char *end)
{
	memset(t, 0, sizeof *t);
	with_rng(&t->from.b, &t->from.r, VMM_WIRE_PCI);
	boot(&t->from.b, code, end);
	with_rng(&t->to.b, &t->to.r, VMM_WIRE_PCI);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, t->pair), 0);
	vmm_resume(t->from.b.m);
	wait_for_progress(&t->from.b);
}

static void go_with(struct trip *t, uint64_t left, uint64_t back, unsigned down_ms, uint64_t speed, unsigned rounds)
{
	begin_to(&t->to, t->pair[1], back);
	struct vmm_moving how = moving(&t->from, t->pair[0], left);
	how.down_ms = down_ms;
	how.bytes_per_second = speed;
	how.rounds = rounds;
	assert_true(vmm_migrate(t->from.b.m, &how, t->from.b.why));
}

static void go(struct trip *t, uint64_t left, uint64_t back, unsigned down_ms, uint64_t speed)
{
	go_with(t, left, back, down_ms, speed, 0);
}

static void arrive(struct trip *t)
{
	while (!t->from.came)
		vio_loop_run(t->from.b.home);
	pthread_join(t->to.thread, NULL);
}

static void come_home(struct trip *t)
{
	without_rng(&t->from.b, &t->from.r);
	without_rng(&t->to.b, &t->to.r);
}

static void test_migration(void **state)
{
	struct trip t;
	(void)state;
	NEEDS_KVM();
	set_out(&t, guest_count, guest_count_end);
	go(&t, UINT64_MAX, UINT64_MAX, 0, 0);
	arrive(&t);
	if (t.from.moved != VMM_MOVED_OK || t.to.moved != VMM_MOVED_OK)
		fail_msg("\"%s\", \"%s\"", t.from.said, t.to.said);
	assert_true(t.from.gave && t.to.took && !t.from.took && !t.to.gave);
	assert_false(vmm_running(t.from.b.m));
	assert_true(vmm_running(t.to.b.m));
	assert_true(counter(&t.to.b) >= counter(&t.from.b));
	wait_for_progress(&t.to.b);
	assert_true(t.from.told.rounds >= 1 && t.from.told.down_ns && t.from.told.total_ns >= t.from.told.down_ns);
	come_home(&t);
}

static void test_back_and_forth(void **state)
{
	struct trip t;
	(void)state;
	NEEDS_KVM();
	set_out(&t, guest_busy, guest_busy_end);
	go(&t, UINT64_MAX, UINT64_MAX, 1000, 0);
	arrive(&t);
	assert_int_equal(t.to.moved, VMM_MOVED_OK);
	vmm_pause(t.to.b.m);
	/* Every page is the same but for what the guest wrote here since. */
	for (uint64_t at = 0; at < 16 << 20; at += 4096)
		if (at < 0x400000 || at >= 0x600000)
			if (at != 0x200000)
				assert_memory_equal(t.from.b.m->memory.base + at, t.to.b.m->memory.base + at, 4096);
	come_home(&t);
}

static void test_cut_connection(void **state)
{
	static const uint64_t after[] = { 0, 1, 15, 16, 30, 100, 5000, 20000, 60000 };
	(void)state;
	NEEDS_KVM();
	for (unsigned i = 0; i < 2 * sizeof after / sizeof *after; i++) {
		struct trip t;
		bool back = i >= sizeof after / sizeof *after;
		uint64_t n = after[i % (sizeof after / sizeof *after)];
		if (back && n > 31)	/* head, READY: what the destination says until it takes over */
			break;
		set_out(&t, guest_count, guest_count_end);
		go(&t, back ? UINT64_MAX : n, back ? n : UINT64_MAX, 0, 0);
		arrive(&t);
		if (t.from.moved != VMM_MOVED_NOT || t.to.moved != VMM_MOVED_NOT)
			fail_msg("cut after %llu bytes: %d \"%s\", %d \"%s\"", (unsigned long long)n, t.from.moved, t.from.said, t.to.moved, t.to.said);
		assert_true(vmm_running(t.from.b.m));
		assert_false(vmm_running(t.to.b.m));
		wait_for_progress(&t.from.b);
		assert_null(t.from.b.m->memory.dirty);
		come_home(&t);
	}
}

/* GO was said, and no answer comes: it may run there. */
static void test_perhaps(void **state)
{
	struct trip t;
	(void)state;
	NEEDS_KVM();
	set_out(&t, guest_count, guest_count_end);
	go(&t, UINT64_MAX, 16 + 16 + 3, 0, 0);
	arrive(&t);
	assert_int_equal(t.from.moved, VMM_MOVED_PERHAPS);
	assert_false(vmm_running(t.from.b.m));
	assert_int_equal(t.to.moved, VMM_MOVED_OK);
	assert_true(vmm_running(t.to.b.m));
	come_home(&t);
}

/* Half a refusal is none: it might have been anything. */
static void test_half_refused(void **state)
{
	struct trip t;
	(void)state;
	NEEDS_KVM();
	set_out(&t, guest_count, guest_count_end);
	t.to.take_fails = true;
	go(&t, UINT64_MAX, 16 + 16 + 20, 0, 0);
	arrive(&t);
	assert_int_equal(t.from.moved, VMM_MOVED_PERHAPS);
	assert_false(vmm_running(t.from.b.m));
	assert_false(t.from.took);
	come_home(&t);
}

/* The guest asks for a reset while its memory is sent: it stays, and is reset here. */
static void test_reset_meanwhile(void **state)
{
	struct trip t;
	(void)state;
	NEEDS_KVM();
	set_out(&t, guest_count, guest_count_end);
	go(&t, UINT64_MAX, UINT64_MAX, 0, 1 << 16);	/* the first round takes a while, */
	vmm_news(t.from.b.m, VMM_NEWS_RESET);		/* in which this comes */
	arrive(&t);
	assert_int_equal(t.from.moved, VMM_MOVED_NOT);
	while (!t.from.b.events[VMM_EVENT_RESET])
		vio_loop_run(t.from.b.home);
	wait_for_progress(&t.from.b);
	assert_false(vmm_running(t.to.b.m));
	come_home(&t);
}

static void test_handing_over(void **state)
{
	struct trip t;
	(void)state;
	NEEDS_KVM();
	set_out(&t, guest_count, guest_count_end);
	t.from.give_fails = true;
	go(&t, UINT64_MAX, UINT64_MAX, 0, 0);
	arrive(&t);
	assert_int_equal(t.from.moved, VMM_MOVED_NOT);
	assert_non_null(strstr(t.from.said, "nailed down"));
	wait_for_progress(&t.from.b);
	assert_false(t.to.took);
	come_home(&t);

	set_out(&t, guest_count, guest_count_end);
	t.to.take_fails = true;
	go(&t, UINT64_MAX, UINT64_MAX, 0, 0);
	arrive(&t);
	assert_int_equal(t.from.moved, VMM_MOVED_NOT);
	assert_non_null(strstr(t.from.said, "the other end says: the disk is another's"));
	assert_true(t.from.gave && t.from.took);
	wait_for_progress(&t.from.b);
	come_home(&t);
}

static void test_busy(void **state)
{
	struct trip t;
	(void)state;
	NEEDS_KVM();
	set_out(&t, guest_busy, guest_busy_end);
	go_with(&t, UINT64_MAX, UINT64_MAX, 1, 2 << 20, 3);	/* each round takes a second, the guest's two MiB much less */
	arrive(&t);
	assert_int_equal(t.from.moved, VMM_MOVED_NOT);
	assert_non_null(strstr(t.from.said, "allow a longer pause"));
	wait_for_progress(&t.from.b);
	come_home(&t);
}

static void test_cancel(void **state)
{
	struct trip t;
	(void)state;
	NEEDS_KVM();
	set_out(&t, guest_busy, guest_busy_end);
	go(&t, UINT64_MAX, UINT64_MAX, 1, 4 << 20);
	assert_false(vmm_unplug(t.from.b.m, "rng0", t.from.b.why));
	assert_non_null(strstr(t.from.b.why, "being migrated"));
	assert_false(vmm_reset(t.from.b.m, t.from.b.why));
	vmm_migrate_cancel(t.from.b.m);
	arrive(&t);
	assert_int_equal(t.from.moved, VMM_MOVED_NOT);
	wait_for_progress(&t.from.b);
	come_home(&t);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TS(test_snapshot, "a snapshot, restored in another machine, goes on where it stood (PCI)", false),
		TS(test_snapshot, "a snapshot, restored in another machine, goes on where it stood (MMIO)", true),
		T(test_other_machines, "a snapshot of another machine is refused by what is different"),
		T(test_deadline, "a processor's timer has its deadline in the other machine too"),
		T(test_cut, "a snapshot that was cut short is refused, wherever"),
		T(test_damaged, "a snapshot that was damaged is refused, and with right checksums it breaks nothing"),
		T(test_migration, "a running machine moves"),
		T(test_back_and_forth, "one that writes moves with all that it wrote"),
		T(test_cut_connection, "a cut connection leaves the source running, wherever"),
		T(test_perhaps, "without an answer to the last word the source stays paused"),
		T(test_half_refused, "half a refusal of the machine that was handed over is no answer"),
		T(test_reset_meanwhile, "a guest that asks for a reset meanwhile stays and is reset"),
		T(test_handing_over, "what only one may have is handed over, or nothing is"),
		T(test_busy, "a guest that writes faster than can be sent is left where it is"),
		T(test_cancel, "a migration is canceled"),
	};
	return vio_tests("move", tests, sizeof tests / sizeof *tests);
}
