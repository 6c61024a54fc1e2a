/* Pre-copy migration: see migrate.h for who says what. */
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <vmm/arch.h>
#include <vmm/kvm.h>
#include <vmm/migrate.h>

enum { ROUNDS = 30, DOWN_MS = 300, PAGE = VIO_DIRTY_PAGE, PACE_BYTES = 1 << 20 };

struct vmm_migration {
	struct vmm *m;
	struct vmm_moving how;
	bool (*run)(struct vmm_migration *g);	/* in the mover's thread; true: MOVED_OK */
	pthread_mutex_t lock;		/* told */
	struct vmm_moving_told told;
	bool cancel;			/* atomic */
	bool was_running, frozen;
	bool refused;			/* source: the other end has said so, in a record that is whole */
	enum vmm_moved moved;
	uint64_t began, paused_at;
	uint8_t *bits;			/* pages to be sent */
	struct vmm_out out;
	struct vmm_in in;
	struct vio_call ended;
	char why[VIO_WHY];
};

static bool canceled(struct vmm_migration *g)
{
	return __atomic_load_n(&g->cancel, __ATOMIC_SEQ_CST) && !vio_refuse(g->why, "the migration was canceled");
}

static void note(struct vmm_migration *g, uint64_t remaining)
{
	pthread_mutex_lock(&g->lock);
	g->told.bytes = g->out.bytes + g->in.bytes;
	g->told.remaining = remaining;
	g->told.total_ns = vio_now_ns() - g->began;
	if (g->paused_at)
		g->told.down_ns = vio_now_ns() - g->paused_at;
	pthread_mutex_unlock(&g->lock);
}

/* A step in the home loop, which alone may do such things. */
struct step { struct vmm_migration *g; bool (*fn)(struct vmm_migration *g); bool ok; };
static void do_step(void *arg) { struct step *s = arg; s->ok = s->fn(s->g); }
static bool at_home(struct vmm_migration *g, bool (*fn)(struct vmm_migration *g))
{
	struct step s = { .g = g, .fn = fn };
	vio_loop_ask(g->m->o.home, do_step, &s);
	return s.ok;
}

/* ---- The source ---- */

static bool log_on(struct vmm_migration *g)
{
	struct vmm *m = g->m;

	if (!vmm_memory_log(m, true, g->why))
		return false;
	g->bits = calloc(1, m->memory.dirty_bytes);
	return g->bits || vio_refuse(g->why, "there is no memory to migrate the machine");
}

static bool look(struct vmm_migration *g) { return vmm_memory_written(g->m, g->bits, g->why); }

static bool stand_still(struct vmm_migration *g)
{
	struct vmm *m = g->m;

	g->was_running = m->running;
	g->paused_at = vio_now_ns();
	vmm_pause(m);
	if (m->reset_due || __atomic_load_n(&m->news_bits, __ATOMIC_SEQ_CST))
		return vio_refuse(g->why, "the guest has just switched itself off, or asked for a reset");
	if (!vmm_freeze(m, g->why))
		return false;
	g->frozen = true;
	return look(g);
}

static bool give(struct vmm_migration *g) { return !g->how.give || g->how.give(g->how.arg, g->why); }
static bool take_back(struct vmm_migration *g) { return !g->how.take || g->how.take(g->how.arg, g->why); }

static uint64_t count(const uint8_t *bits, uint64_t bytes)
{
	uint64_t n = 0;
	for (uint64_t i = 0; i < bytes; i += 8) {
		uint64_t word;
		memcpy(&word, bits + i, 8);
		n += (uint64_t)__builtin_popcountll(word);
	}
	return n;
}

/* Not faster than was said. */
static void pace(const struct vmm_migration *g, uint64_t bytes, uint64_t since)
{
	uint64_t limit = g->how.bytes_per_second;

	if (!limit)
		return;
	uint64_t due = since + (uint64_t)((double)bytes * 1e9 / (double)limit), now = vio_now_ns();
	if (due > now) {
		struct timespec t = { (time_t)((due - now) / 1000000000), (long)((due - now) % 1000000000) };
		nanosleep(&t, NULL);
	}
}

static bool send_memory(struct vmm_migration *g, bool all)
{
	uint64_t before = g->out.bytes, since = vio_now_ns();
	bool ok = vmm_put_memory(g->m, &g->out, all ? NULL : g->bits) && vmm_out_flush(&g->out);

	pthread_mutex_lock(&g->lock);
	g->told.memory_bytes += g->out.bytes - before;
	pthread_mutex_unlock(&g->lock);
	if (!g->paused_at)
		pace(g, g->out.bytes - before, since);
	return ok || vio_refuse(g->why, "%s", g->out.why);
}

/* Round after round, until what is left can be sent within the pause that is wanted. */
static bool pre_copy(struct vmm_migration *g)
{
	uint64_t down_ns = (g->how.down_ms ? g->how.down_ms : DOWN_MS) * UINT64_C(1000000);
	uint64_t dirty = g->m->memory.dirty_bytes;
	unsigned rounds = g->how.rounds ? g->how.rounds : ROUNDS;

	for (unsigned round = 0; round < rounds; round++) {
		uint64_t before = g->out.bytes, since = vio_now_ns();
		if (canceled(g) || !send_memory(g, round == 0) || !look(g))
			return false;
		uint64_t took = vio_now_ns() - since + 1, sent = g->out.bytes - before;
		uint64_t left = count(g->bits, dirty) * PAGE;
		pthread_mutex_lock(&g->lock);
		g->told.rounds = round + 1;
		pthread_mutex_unlock(&g->lock);
		note(g, left);
		/* At the speed of this round, if it was long enough to have one. */
		if (!left || (double)left * (double)took <= (double)down_ns * 0.8 * (double)(sent ? sent : 1) || left <= PACE_BYTES)
			return true;
	}
	return vio_refuse(g->why, "the guest writes faster than its memory can be sent: allow a longer pause, or let it write less");
}

/* What the other end says. */
static bool answer(struct vmm_migration *g, uint32_t wanted)
{
	if (!vmm_in_next(&g->in))
		return vio_refuse(g->why, "the other end does not answer: %s", g->in.why);
	g->refused = g->in.kind == VMM_RECORD_REFUSED;
	if (g->refused)
		return vio_refuse(g->why, "the other end says: %.*s", (int)(g->in.length < 400 ? g->in.length : 400), (const char *)g->in.data);
	return g->in.kind == wanted || vio_refuse(g->why, "the other end answers something else than was asked");
}

static bool send_go(struct vmm_migration *g)
{
	uint8_t running = g->was_running;

	if (!at_home(g, give))
		return false;
	g->moved = VMM_MOVED_PERHAPS;	/* from the first byte on */
	if (!vmm_out_put(&g->out, VMM_RECORD_GO, 0, &running, 1, NULL, 0) || !vmm_out_flush(&g->out) || !answer(g, VMM_RECORD_DONE)) {
		/* A refusal is an answer: it does not run there. */
		if (g->refused)
			g->moved = VMM_MOVED_NOT;
		else if (!g->why[0])
			vio_refuse(g->why, "%s", g->out.why);
		char kept[VIO_WHY];
		memcpy(kept, g->why, sizeof kept);
		if (g->moved == VMM_MOVED_NOT && at_home(g, take_back))
			memcpy(g->why, kept, sizeof kept);
		else if (g->moved == VMM_MOVED_NOT)
			g->moved = VMM_MOVED_PERHAPS;	/* and why says what could not be taken back */
		return false;
	}
	return true;
}

static bool source(struct vmm_migration *g)
{
	g->in.channel = g->how.channel;
	vmm_out_begin(&g->out, g->how.channel, vmm_stream_arch());
	if (!at_home(g, log_on) || !vmm_put_machine(g->m, &g->out) || !pre_copy(g) || canceled(g) || !at_home(g, stand_still) ||
	    !send_memory(g, false))
		return false;
	if (!vmm_put_rest(g->m, &g->out))
		return vio_refuse(g->why, "%s", g->out.why);
	if (!vmm_in_begin(&g->in, g->how.channel, vmm_stream_arch()))
		return vio_refuse(g->why, "the other end does not answer: %s", g->in.why);
	bool ok = answer(g, VMM_RECORD_READY) && !canceled(g) && send_go(g);
	note(g, 0);
	return ok;
}

/* ---- The destination ---- */

static bool say(struct vmm_migration *g, uint32_t kind, const char *words)
{
	return (vmm_out_put(&g->out, kind, 0, words, strlen(words), NULL, 0) && vmm_out_flush(&g->out)) || vio_refuse(g->why, "%s", g->out.why);
}

/* What went wrong here is told there, if it still can be. */
static bool say_why(struct vmm_migration *g)
{
	char why[VIO_WHY];

	memcpy(why, g->why, sizeof why);
	say(g, VMM_RECORD_REFUSED, why);
	memcpy(g->why, why, sizeof why);
	return false;
}

static bool load_all(struct vmm_migration *g)
{
	struct vmm_seen seen = { 0 };
	bool end = false;

	while (!end) {
		if (canceled(g))
			return false;
		if (!vmm_in_next(&g->in))
			return vio_refuse(g->why, "%s", g->in.why);
		if (!vmm_take(g->m, &g->in, &seen, &end, g->why))
			return false;
		note(g, 0);
	}
	return true;
}

static bool take_over(struct vmm_migration *g)
{
	struct vmm *m = g->m;

	if (g->how.take && !g->how.take(g->how.arg, g->why))
		return false;
	m->booted = true;
	vmm_thaw_all(m);
	if (g->was_running)
		vmm_resume(m);
	return true;
}

static bool destination(struct vmm_migration *g)
{
	vmm_out_begin(&g->out, g->how.channel, vmm_stream_arch());
	if (!vmm_in_begin(&g->in, g->how.channel, vmm_stream_arch()))
		return vio_refuse(g->why, "%s", g->in.why);
	if (!load_all(g))
		return say_why(g);
	if (!say(g, VMM_RECORD_READY, ""))
		return false;
	if (!vmm_in_next(&g->in))
		return vio_refuse(g->why, "the machine was not handed over: %s", g->in.why);
	if (g->in.kind != VMM_RECORD_GO || g->in.length != 1)
		return vio_refuse(g->why, "the other end says something else than was expected");
	g->was_running = g->in.data[0];
	if (!at_home(g, take_over))
		return say_why(g);
	say(g, VMM_RECORD_DONE, "");	/* whether or not that is heard, it runs here */
	g->why[0] = 0;
	return true;
}

/* ---- Beginning and end ---- */

static void move(struct vmm_migration *g)
{
	if (g->run(g))
		g->moved = VMM_MOVED_OK;
	note(g, g->told.remaining);
	vio_loop_call(g->m->o.home, &g->ended);
}

/* The mover waits for what there is to move: it is made with the machine, because a confined process starts no threads. */
static void *mover(void *arg)
{
	struct vmm *m = arg;

	for (;;) {
		while (sem_wait(&m->mover_wanted) < 0)
			continue;
		if (!m->migration)
			return NULL;
		move(m->migration);
	}
}

bool vmm_mover_open(struct vmm *m, char *why)
{
	sigset_t mask, before;

	sem_init(&m->mover_wanted, 0, 0);
	sigfillset(&mask);
	sigdelset(&mask, SIGSYS);
	sigdelset(&mask, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	m->mover_there = !pthread_create(&m->mover, NULL, mover, m);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!m->mover_there)
		return vio_refuse(why, "cannot start a thread to move the machine: raise the limit of processes (ulimit -u)");
	pthread_setname_np(m->mover, "mover");
	return true;
}

static void drop(struct vmm_migration *g)
{
	vio_channel_close(g->how.channel);
	vmm_in_free(&g->in);
	free(g->bits);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

/* The source goes on as it was, unless the machine is the other's, or may be. */
static void go_on(struct vmm_migration *g)
{
	struct vmm *m = g->m;
	char why[VIO_WHY];

	vmm_memory_log(m, false, why);
	if (g->moved != VMM_MOVED_NOT)
		return;
	if (g->frozen)
		vmm_thaw(m);
	if (g->paused_at && g->was_running)
		vmm_resume(m);
}

static void ended(void *arg)
{
	struct vmm_migration *g = arg;
	struct vmm *m = g->m;

	m->migration = NULL;
	m->moving = false;
	if (g->run == source)
		go_on(g);
	struct vmm_moving how = g->how;
	struct vmm_moving_told told = g->told;
	enum vmm_moved moved = g->moved;
	char why[VIO_WHY];
	memcpy(why, g->why, sizeof why);
	drop(g);
	if (m->reset_due && moved == VMM_MOVED_NOT)
		vmm_news(m, VMM_NEWS_RESET);
	m->reset_due = false;
	if (m->ending)
		vio_loop_quit(m->o.home);
	else if (how.done)
		how.done(how.arg, moved, &told, why);
}

static bool begin(struct vmm *m, const struct vmm_moving *how, bool (*fn)(struct vmm_migration *), char *why)
{
	struct vmm_migration *g = m->moving ? NULL : calloc(1, sizeof *g);

	if (!g) {
		vio_channel_close(how->channel);
		return vio_refuse(why, m->moving ? "the machine is being migrated already" : "there is no memory to migrate the machine");
	}
	*g = (struct vmm_migration){ .m = m, .how = *how, .run = fn, .moved = VMM_MOVED_NOT, .began = vio_now_ns() };
	g->ended = (struct vio_call){ .fn = ended, .arg = g };
	pthread_mutex_init(&g->lock, NULL);
	m->moving = true;
	m->migration = g;
	sem_post(&m->mover_wanted);
	return true;
}

bool vmm_migrate(struct vmm *m, const struct vmm_moving *how, char *why)
{
	if (m->moving || vmm_may_move(m, why))
		return begin(m, how, source, why);
	vio_channel_close(how->channel);
	return false;
}

bool vmm_receive(struct vmm *m, const struct vmm_moving *how, char *why) { return begin(m, how, destination, why); }

void vmm_migrate_cancel(struct vmm *m)
{
	struct vmm_migration *g = m->migration;

	if (!g)
		return;
	__atomic_store_n(&g->cancel, true, __ATOMIC_SEQ_CST);
	if (!g->paused_at)		/* later it has an end by itself */
		g->how.channel->ops->shut(g->how.channel);
}

/* The mover may want something of the home loop, which is therefore run. */
void vmm_mover_close(struct vmm *m)
{
	m->ending = true;
	vmm_migrate_cancel(m);
	while (m->migration)
		vio_loop_run(m->o.home);
	if (!m->mover_there)
		return;
	sem_post(&m->mover_wanted);
	pthread_join(m->mover, NULL);
	sem_destroy(&m->mover_wanted);
}

bool vmm_migrate_told(struct vmm *m, struct vmm_moving_told *told)
{
	struct vmm_migration *g = m->migration;

	if (!g)
		return false;
	pthread_mutex_lock(&g->lock);
	*told = g->told;
	pthread_mutex_unlock(&g->lock);
	return true;
}
