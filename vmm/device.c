/*
 * A virtio device of the machine, whatever its wire: its loop does turns, alarms and messages, and hears of notifications.
 */
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <stdio.h>
#include <vmm/arch.h>
#include <vmm/kvm.h>

static void wait_for(sem_t *s)
{
	while (sem_wait(s) < 0)
		continue;	/* a signal */
}

/* ---- What the wire needs of its owner (vio/transport/owner.h) ---- */

static void look_at_features(struct vmm_device *d)
{
	bool chosen = d->dev->status & VIO_S_FEATURES_OK;

	if (chosen && !d->chosen && d->news)
		d->news(d->news_arg, VMM_DEVICE_FEATURES);
	d->chosen = chosen;
}

void vmm_device_turn(struct vmm_device *d, unsigned queue)
{
	look_at_features(d);
	if (d->wire->turn(d, queue))
		vio_loop_task(d->loop, &d->queue[queue].turn);
	if (d->reset_done && d->dev->pending != VIO_PENDING_RESET) {
		sem_post(d->reset_done);
		d->reset_done = NULL;
	}
}

static void turn_task(void *arg)
{
	struct vmm_queue *q = arg;
	vmm_device_turn(q->d, q->index);
}

void vmm_owner_wake(void *arg, unsigned queue)
{
	struct vmm_device *d = arg;
	vio_loop_task(d->loop, &d->queue[queue].turn);
}

void vmm_owner_broken(void *arg, unsigned queue, const char *why)
{
	struct vmm_device *d = arg;

	/* A guest may break its queues as often as it likes: it does not fill anybody's disk with that. */
	if (d->breaks_told < VMM_BREAKS_TOLD)
		fprintf(stderr, "vio: %s: queue %u is broken until it is reset: %s%s\n", d->name, queue, why,
		    ++d->breaks_told == VMM_BREAKS_TOLD ? "; that is not said any more" : "");
	if (d->news)
		d->news(d->news_arg, VMM_DEVICE_BROKEN);
}

uint64_t vmm_owner_now(void *arg) { (void)arg; return vio_now_ns(); }

void vmm_owner_alarm(void *arg, unsigned queue, uint64_t at_ns)
{
	struct vmm_device *d = arg;

	if (at_ns == UINT64_MAX)
		vio_loop_untimer(d->loop, &d->queue[queue].alarm);
	else
		vio_loop_timer(d->loop, &d->queue[queue].alarm, at_ns);
}

static void run_calls(void *arg)
{
	struct vmm_device *d = arg;
	struct vio_dev_call *c = d->calls;

	d->calls = NULL;
	while (c) {
		struct vio_dev_call *next = c->next;
		c->fn(c->arg);		/* c is free again */
		c = next;
	}
}

void vmm_owner_post(void *arg, unsigned queue, struct vio_dev_call *c)
{
	struct vmm_device *d = arg;
	struct vio_dev_call **at = &d->calls;

	(void)queue;			/* all are in one loop */
	while (*at)
		at = &(*at)->next;
	c->next = NULL;
	*at = c;
	vio_loop_task(d->loop, &d->calls_task);
}

void *vmm_owner_alloc(void *arg, size_t bytes)
{
	(void)arg;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void vmm_owner_free(void *arg, void *p, size_t bytes) { (void)arg; munmap(p, bytes); }

/* ---- Notifications ---- */

static void kicked(struct vio_watch *w, uint32_t events)
{
	struct vmm_queue *q = w->arg;
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof count) != sizeof count)
		return;
	q->d->dev->queue[q->index].ring.stats.kicks++;
	vmm_device_turn(q->d, q->index);
}

void vmm_device_hook(struct vmm_device *d, unsigned queue, uint64_t address, unsigned width, int64_t match, bool on)
{
	struct vmm_queue *q = &d->queue[queue];
	struct kvm_ioeventfd e = { .datamatch = match < 0 ? 0 : (uint64_t)match, .addr = address, .len = width, .fd = q->kick.fd,
		.flags = (match < 0 ? 0 : KVM_IOEVENTFD_FLAG_DATAMATCH) | (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN) };

	/* Where it fails (another function has been put at this address) the access is an ordinary one. */
	if (q->kick.fd >= 0)
		vmm_ioctl(d->m->vm, KVM_IOEVENTFD, &e);
}

/* ---- Life ---- */

static void open_queue(struct vmm_device *d, unsigned i)
{
	struct vmm_queue *q = &d->queue[i];

	if (d->remote) {
		q->kick.fd = vio_remote_kick_fd(d->remote, i);
		return;
	}
	q->kick = (struct vio_watch){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = EPOLLIN, .ready = kicked, .arg = q };
	if (q->kick.fd >= 0 && !vio_loop_watch(d->loop, &q->kick)) {
		close(q->kick.fd);
		q->kick.fd = -1;	/* notifications are accesses then */
	}
}

static void attach(void *arg)
{
	struct vmm_device *d = arg;
	struct vio_features f = d->wire->features();

	/* An eventfd tells that there was a notification, not what was in it. */
	vio_features_drop(&f, VIO_F_NOTIFICATION_DATA);
	vio_features_drop(&f, VIO_F_NOTIF_CONFIG_DATA);
	vio_features_drop(&f, VIO_F_ACCESS_PLATFORM);	/* there is no IOMMU */
	if (!vio_has(d->dev->wire, VIO_F_RING_PACKED))	/* its owner wants none: --ring=split */
		vio_features_drop(&f, VIO_F_RING_PACKED);
	vio_dev_attach(d->dev, d->wire->port, d->port_arg, f);
	vio_dev_set_mem(d->dev, d->m->memory.mem);
	for (unsigned i = 0; i < vio_dev_queues(d->dev); i++)
		open_queue(d, i);
}

static struct vmm_device *find_slot(struct vmm *m, unsigned slot)
{
	struct vmm_device *d = m->devices;
	while (d && d->slot != slot)
		d = d->next;
	return d;
}

struct vmm_device *vmm_device_named(struct vmm *m, const char *name)
{
	struct vmm_device *d = m->devices;
	while (d && strcmp(d->name, name))
		d = d->next;
	return d;
}

void vmm_device_prepare(struct vmm_device *d, struct vmm *m, const struct vmm_attach *a, void *port_arg)
{
	d->m = m;
	d->name = strdup(a->name);
	d->dev = a->dev;
	d->loop = a->loop;
	d->port_arg = port_arg;
	d->remote = a->remote;
	d->news = a->news;
	d->news_arg = a->news_arg;
	d->calls_task = (struct vio_task){ .fn = run_calls, .arg = d };
	for (unsigned i = 0; i < VIO_DEV_QUEUES; i++) {
		struct vmm_queue *q = &d->queue[i];
		*q = (struct vmm_queue){ .d = d, .index = i, .turn = { .fn = turn_task, .arg = q }, .alarm = { .fn = turn_task, .arg = q },
			.kick.fd = -1 };
	}
	vio_loop_ask(d->loop, attach, d);
}

struct vmm_device *vmm_attach(struct vmm *m, const struct vmm_attach *a, char *why)
{
	if (m->moving) {
		vio_refuse(why, "the machine is being migrated: wait until that has ended");
		return NULL;
	}
	if (vmm_device_named(m, a->name)) {
		vio_refuse(why, "there is a device called %s already: choose another name", a->name);
		return NULL;
	}
	if (a->slot && find_slot(m, a->slot)) {
		vio_refuse(why, "slot %u has a device already: choose another, or leave it out", a->slot);
		return NULL;
	}
	struct vmm_device *d = m->o.wire == VMM_WIRE_PCI ? vmm_function_new(m, a, why) : vmm_page_new(m, a, why);
	if (!d)
		return NULL;
	d->next = m->devices;
	m->devices = d;
	m->device_count++;
	return d;
}

static void reset(void *arg)
{
	struct vmm_device *d = arg;
	sem_t *done = d->reset_done;

	d->reset_done = NULL;
	d->wire->reset(d);
	if (d->dev->pending == VIO_PENDING_RESET)
		d->reset_done = done;
	else
		sem_post(done);
}

void vmm_device_reset(struct vmm_device *d)
{
	sem_t done;

	sem_init(&done, 0, 0);
	d->reset_done = &done;
	vio_loop_ask(d->loop, reset, d);
	wait_for(&done);
	sem_destroy(&done);
}

static void detach(void *arg)
{
	struct vmm_device *d = arg;

	d->wire->detach(d);
	for (unsigned i = 0; i < VIO_DEV_QUEUES; i++) {
		struct vmm_queue *q = &d->queue[i];
		vio_loop_untask(d->loop, &q->turn);
		vio_loop_untimer(d->loop, &q->alarm);
		if (q->kick.fd < 0 || d->remote)
			continue;
		vio_loop_unwatch(d->loop, &q->kick);
		close(q->kick.fd);
	}
	run_calls(d);
	vio_loop_untask(d->loop, &d->calls_task);
	vio_dev_set_mem(d->dev, NULL);
}

void vmm_detach(struct vmm_device *d)
{
	struct vmm *m = d->m;
	struct vmm_device **at = &m->devices;
	bool running = vmm_running(m);

	vmm_pause(m);		/* so that no vCPU is in an access to it */
	vmm_device_reset(d);
	if (m->o.wire == VMM_WIRE_PCI)
		vmm_pci_remove(m, d->slot);
	vio_loop_ask(d->loop, detach, d);
	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	m->device_count--;
	free(d->name);
	free(d);
	if (running)
		vmm_resume(m);
}

static void adopt(void *arg)
{
	struct vmm_device *d = arg;

	vio_dev_set_mem(d->dev, d->m->memory.mem);
	for (unsigned i = 0; i < vio_dev_queues(d->dev); i++)
		if (d->dev->queue[i].state != VIO_QUEUE_STOPPED)
			vio_dev_queue_set_mem(d->dev, i, d->m->memory.mem, NULL);
}

void vmm_devices_adopt(struct vmm *m)
{
	for (struct vmm_device *d = m->devices; d; d = d->next)
		vio_loop_ask(d->loop, adopt, d);
}

struct logging { struct vmm_device *d; bool on, ok; char *why; };

static void log_remote(void *arg)
{
	struct logging *l = arg;
	l->ok = vio_remote_log(l->d->remote, l->on, &l->d->written, &l->d->written_bytes, l->why);
	if (!l->on || !l->ok)
		l->d->written = NULL;
}

bool vmm_devices_log(struct vmm *m, bool on, char *why)
{
	for (struct vmm_device *d = m->devices; d; d = d->next) {
		struct logging l = { .d = d, .on = on, .ok = true, .why = why };
		if (d->remote && (on || d->written))
			vio_loop_ask(d->loop, log_remote, &l);
		if (!l.ok)
			return false;
	}
	return true;
}
