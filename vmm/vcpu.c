/*
 * vCPU threads.  A vCPU is in the guest, in a device's answer, or parked.
 *
 * Parking: the wish (vmm.park) is set, every vCPU is signalled, and immediate_exit makes KVM_RUN return at once even if the
 * signal came just before it.  An exit that was answered is completed by that KVM_RUN, so that a parked vCPU's state is whole.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmm/arch.h>
#include <vmm/kvm.h>

static void on_kick(int signal) { (void)signal; }

static int kick_signal(void) { return SIGRTMIN; }

/* ---- In the vCPU's thread ---- */

static void crash(struct vmm_vcpu *v, const char *why)
{
	struct vmm *m = v->m;

	pthread_mutex_lock(&m->park_lock);
	if (!m->crash[0])
		snprintf(m->crash, sizeof m->crash, "vCPU %u: %s", v->index, why);
	m->park = true;
	pthread_mutex_unlock(&m->park_lock);
	vmm_news(m, VMM_NEWS_CRASH);
}

static const char *on_mmio(struct vmm_vcpu *v)
{
	struct kvm_run *run = v->run;
	uint64_t value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, run->mmio.len);
		vmm_bus_write(&v->m->addresses, run->mmio.phys_addr, run->mmio.len, value);
	} else {
		value = vmm_bus_read(&v->m->addresses, run->mmio.phys_addr, run->mmio.len);
		memcpy(run->mmio.data, &value, run->mmio.len);
	}
	return NULL;
}

static const char *handle(struct vmm_vcpu *v)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_MMIO: return on_mmio(v);
	case KVM_EXIT_INTR: return NULL;
	default: return vmm_arch_exit(v);
	}
}

/* False: the thread is to end. */
static bool park(struct vmm_vcpu *v)
{
	struct vmm *m = v->m;
	bool quit;

	pthread_mutex_lock(&m->park_lock);
	if (m->park) {
		v->parked = true;
		m->parked++;
		pthread_cond_broadcast(&m->park_cond);
		while (m->park && !m->quit)
			pthread_cond_wait(&m->park_cond, &m->park_lock);
		v->parked = false;
		m->parked--;
	}
	quit = m->quit;
	v->run->immediate_exit = 0;
	pthread_mutex_unlock(&m->park_lock);
	return !quit;
}

static void *run(void *arg)
{
	struct vmm_vcpu *v = arg;

	while (park(v)) {
		const char *why = NULL;
		while (!why && (ioctl(v->fd, KVM_RUN, NULL) >= 0))
			why = handle(v);
		if (!why && errno != EINTR && errno != EAGAIN)
			why = strerror(errno);
		if (why)
			crash(v, why);
	}
	return NULL;
}

/* ---- In the home loop ---- */

static void kick(struct vmm_vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(v->thread, kick_signal());
}

void vmm_vcpus_park(struct vmm *m)
{
	pthread_mutex_lock(&m->park_lock);
	m->park = true;
	for (unsigned i = 0; i < m->o.cpus; i++)
		if (m->vcpu[i].started && !m->vcpu[i].parked)
			kick(&m->vcpu[i]);
	while (m->parked < m->o.cpus)
		pthread_cond_wait(&m->park_cond, &m->park_lock);
	pthread_mutex_unlock(&m->park_lock);
}

void vmm_vcpus_go(struct vmm *m)
{
	pthread_mutex_lock(&m->park_lock);
	m->park = false;
	pthread_cond_broadcast(&m->park_cond);
	pthread_mutex_unlock(&m->park_lock);
}

static bool start(struct vmm_vcpu *v, char *why)
{
	char name[16];

	v->fd = ioctl(v->m->vm, KVM_CREATE_VCPU, v->index);
	if (v->fd < 0)
		return vio_refuse(why, "KVM cannot make vCPU %u: %s; give --cpus less", v->index, strerror(errno));
	v->run = mmap(NULL, v->m->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return vio_refuse(why, "cannot map a vCPU: %s", strerror(errno));
	}
	if (!vmm_arch_vcpu(v, why))
		return false;
	if (pthread_create(&v->thread, NULL, run, v))
		return vio_refuse(why, "cannot start a thread for a vCPU: raise the limit of processes (ulimit -u)");
	v->started = true;
	snprintf(name, sizeof name, "vcpu%u", v->index);
	pthread_setname_np(v->thread, name);
	return true;
}

/* They are parked when this returns. */
bool vmm_vcpus_open(struct vmm *m, char *why)
{
	struct sigaction kicked = { .sa_handler = on_kick };
	sigset_t mask, before;
	bool ok = true;

	sigaction(kick_signal(), &kicked, NULL);
	m->vcpu = calloc(m->o.cpus, sizeof *m->vcpu);
	if (!m->vcpu)
		return vio_refuse(why, "there is no memory for the machine");
	m->park = true;
	/* The process's signals are the home loop's; those that a thread brings on itself are its own. */
	sigfillset(&mask);
	const int own[] = { kick_signal(), SIGSYS, SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP };
	for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
		sigdelset(&mask, own[i]);
	pthread_sigmask(SIG_SETMASK, &mask, &before);
	for (unsigned i = 0; ok && i < m->o.cpus; i++) {
		m->vcpu[i] = (struct vmm_vcpu){ .m = m, .index = i, .fd = -1 };
		ok = start(&m->vcpu[i], why);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ok)
		vmm_vcpus_park(m);
	return ok;
}

void vmm_vcpus_close(struct vmm *m)
{
	pthread_mutex_lock(&m->park_lock);
	m->quit = true;
	pthread_cond_broadcast(&m->park_cond);
	pthread_mutex_unlock(&m->park_lock);
	for (unsigned i = 0; m->vcpu && i < m->o.cpus; i++) {
		struct vmm_vcpu *v = &m->vcpu[i];
		if (v->started) {
			kick(v);
			pthread_join(v->thread, NULL);
		}
		if (v->run)
			munmap(v->run, m->run_bytes);
		if (v->fd >= 0)
			close(v->fd);
	}
	free(m->vcpu);
}
