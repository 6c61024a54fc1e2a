/* The machine's state, written and read. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <vmm/arch.h>
#include <vmm/kvm.h>
#include <vmm/snapshot.h>

enum { PAGE = VIO_DIRTY_PAGE, RUN = 64 };	/* pages in a record */
VIO_STATIC_ASSERT(RUN * PAGE <= sizeof ((struct vmm_out *)0)->still, "a run");
enum { FREEZE_SECONDS = 30 };

struct vmm_record_machine { vio_le64 memory; vio_le32 cpus, wire, devices, reserved; };
struct vmm_record_pci { vio_le32 address, up, down; };
struct vmm_record_device { char name[64]; vio_le32 type; };

uint32_t vmm_stream_arch(void)
{
#ifdef __aarch64__
	return VMM_STREAM_ARM64;
#else
	return VMM_STREAM_X86;
#endif
}

/* ---- Standing still ---- */

struct freezing { struct vmm_device *d; sem_t done; };

static void frozen(void *arg) { sem_post(arg); }

static void freeze(void *arg)
{
	struct freezing *f = arg;
	vio_dev_freeze(f->d->dev, frozen, &f->done);
}

static void thaw(void *arg)
{
	struct vmm_device *d = arg;
	vio_dev_thaw(d->dev);
}

static bool freeze_one(struct vmm_device *d)
{
	struct freezing f = { .d = d };
	struct timespec until;
	int late;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += FREEZE_SECONDS;
	sem_init(&f.done, 0, 0);
	vio_loop_ask(d->loop, freeze, &f);
	while ((late = sem_timedwait(&f.done, &until)) < 0 && errno == EINTR)
		continue;
	if (late)
		vio_loop_ask(d->loop, thaw, d);	/* done does not come any more */
	sem_destroy(&f.done);
	return !late;
}

void vmm_thaw(struct vmm *m)
{
	for (struct vmm_device *d = m->devices; d; d = d->next)
		if (d->dev->freeze)
			vio_loop_ask(d->loop, thaw, d);
}

void vmm_thaw_all(struct vmm *m)
{
	for (struct vmm_device *d = m->devices; d; d = d->next)
		vio_loop_ask(d->loop, thaw, d);
}

bool vmm_freeze(struct vmm *m, char *why)
{
	for (struct vmm_device *d = m->devices; d; d = d->next)
		if (!freeze_one(d)) {
			vmm_thaw(m);
			return vio_refuse(why, "%s has requests in flight that do not end within %d seconds: look at what it is connected to",
			    d->name, FREEZE_SECONDS);
		}
	vmm_arch_settle(m);
	return true;
}

struct asking { struct vmm_device *d; const char *stays; };

static void ask_stays(void *arg)
{
	struct asking *a = arg;
	a->stays = vio_dev_stays(a->d->dev);
}

bool vmm_may_move(struct vmm *m, char *why)
{
	for (struct vmm_device *d = m->devices; d; d = d->next) {
		struct asking a = { .d = d };
		vio_loop_ask(d->loop, ask_stays, &a);
		if (a.stays)
			return vio_refuse(why, "%s can't go along: %s", d->name, a.stays);
	}
	return true;
}

/* ---- Memory ---- */

static bool zero(const unsigned char *page)
{
	return !page[0] && !memcmp(page, page + 1, PAGE - 1);
}

static bool put_run(struct vmm_out *o, const struct vio_region *r, uint64_t at, uint64_t bytes)
{
	vio_le64 address = vio_le64_of(r->gpa + at);

	memcpy(o->still, r->host + at, bytes);	/* the guest may be writing there */
	return vmm_out_put(o, VMM_RECORD_MEMORY, 0, &address, sizeof address, o->still, bytes);
}

static bool put_zeroes(struct vmm_out *o, const struct vio_region *r, uint64_t at, uint64_t bytes)
{
	vio_le64 v[2] = { vio_le64_of(r->gpa + at), vio_le64_of(bytes) };
	return vmm_out_put(o, VMM_RECORD_ZEROES, 0, v, sizeof v, NULL, 0);
}

/* [at, end): pages with something in them in runs; those without, only if the other end may have something there. */
static bool put_range(struct vmm_out *o, const struct vio_region *r, uint64_t at, uint64_t end, bool tell_zeroes)
{
	while (at < end) {
		bool none = zero(r->host + at);
		uint64_t from = at;
		for (at += PAGE; at < end && at - from < RUN * PAGE && zero(r->host + at) == none; )
			at += PAGE;
		if (none ? tell_zeroes && !put_zeroes(o, r, from, at - from) : !put_run(o, r, from, at - from))
			return false;
	}
	return true;
}

/* Where the file has nothing, nothing was ever written; to look would make it. */
static bool put_touched(struct vmm *m, struct vmm_out *o, const struct vio_region *r, uint64_t offset)
{
	uint64_t end = offset + r->size, at = offset;

	for (;;) {
		off_t data = lseek(m->memory.fd, (off_t)at, SEEK_DATA);
		if (data < 0 || (uint64_t)data >= end)
			return true;
		off_t hole = lseek(m->memory.fd, data, SEEK_HOLE);
		at = hole < 0 || (uint64_t)hole > end ? end : (uint64_t)hole;
		if (!put_range(o, r, (uint64_t)data / PAGE * PAGE - offset, (at - offset + PAGE - 1) / PAGE * PAGE, false))
			return false;
	}
}

static bool put_marked(struct vmm_out *o, const struct vio_region *r, uint8_t *bits)
{
	uint64_t first = r->gpa / PAGE, end = first + r->size / PAGE;

	for (uint64_t i = first; i < end; ) {
		uint64_t from = i;
		if (i % 8 == 0 && !bits[i / 8]) {
			i += 8;
			continue;
		}
		for (; i < end && bits[i / 8] >> i % 8 & 1; i++)
			bits[i / 8] &= (uint8_t)~(1 << i % 8);
		if (i == from)
			i++;
		else if (!put_range(o, r, (from - first) * PAGE, (i - first) * PAGE, true))
			return false;
	}
	return true;
}

bool vmm_put_memory(struct vmm *m, struct vmm_out *o, uint8_t *bits)
{
	for (unsigned i = 0; i < m->memory.regions; i++) {
		const struct vio_region *r = &m->memory.region[i];
		if (bits ? !put_marked(o, r, bits) : !put_touched(m, o, r, m->memory.backing[i].offset))
			return false;
	}
	return true;
}

/* Whole pages inside one region; NULL: they are not. */
static unsigned char *pages_at(struct vmm *m, uint64_t address, uint64_t bytes)
{
	if (!bytes || address % PAGE || bytes % PAGE)
		return NULL;
	return vio_mem_span(m->memory.mem, address, bytes, VIO_MEM_WRITE);
}

static bool take_memory(struct vmm *m, const struct vmm_in *in, char *why)
{
	vio_le64 v[2] = { { 0 }, { 0 } };
	bool zeroes = in->kind == VMM_RECORD_ZEROES;
	size_t head = zeroes ? sizeof v : sizeof *v;

	if (in->length < head || (zeroes && in->length != head))
		return vio_refuse(why, "the state has memory without an address");
	memcpy(v, in->data, head);
	uint64_t bytes = zeroes ? vio_le64_get(v[1]) : in->length - head;
	unsigned char *to = pages_at(m, vio_le64_get(v[0]), bytes);
	if (!to)
		return vio_refuse(why, "the state has memory where this machine has none");
	if (zeroes)
		memset(to, 0, bytes);
	else
		memcpy(to, in->data + head, bytes);
	return true;
}

/* ---- Devices ---- */

struct saving { struct vmm_device *d; unsigned char *bytes; size_t n; };

static void save_device(void *arg)
{
	struct saving *s = arg;

	s->n = s->d->wire->save(s->d, NULL, 0);
	s->bytes = malloc(s->n);
	if (s->bytes)
		s->d->wire->save(s->d, s->bytes, s->n);
}

static bool put_device(struct vmm_device *d, struct vmm_out *o)
{
	struct saving s = { .d = d };

	vio_loop_ask(d->loop, save_device, &s);
	struct vmm_record_device head = { .type = vio_le32_of(d->dev->type->id) };
	snprintf(head.name, sizeof head.name, "%s", d->name);
	if (!s.bytes) {
		o->failed = true;
		return vio_refuse(o->why, "there is no memory for the state of %s", d->name);
	}
	bool ok = vmm_out_put(o, VMM_RECORD_DEVICE, d->slot, &head, sizeof head, s.bytes, s.n);
	free(s.bytes);
	return ok;
}

struct loading { struct vmm_device *d; const unsigned char *bytes; size_t n; const char *failed; };

static void load_device(void *arg)
{
	struct loading *l = arg;

	l->failed = l->d->wire->load(l->d, l->bytes, l->n);
}

static struct vmm_device *in_slot(struct vmm *m, uint32_t slot)
{
	struct vmm_device *d = m->devices;
	while (d && d->slot != slot)
		d = d->next;
	return d;
}

static bool take_device(struct vmm *m, const struct vmm_in *in, struct vmm_seen *seen, char *why)
{
	struct vmm_record_device head;

	if (in->length < sizeof head)
		return vio_refuse(why, "the state of a device is cut short");
	memcpy(&head, in->data, sizeof head);
	head.name[sizeof head.name - 1] = 0;
	struct vmm_device *d = in_slot(m, in->instance);
	struct loading l = { .d = d, .bytes = in->data + sizeof head, .n = in->length - sizeof head };
	if (!d || d->dev->type->id != vio_le32_get(head.type) || strcmp(d->name, head.name))
		return vio_refuse(why, "the state has %.40s in slot %u, and this machine has %s there: give it the same devices", head.name,
		    in->instance, d ? d->name : "nothing");
	if (seen->devices >> d->slot & 1)
		return vio_refuse(why, "the state has %s twice", d->name);
	seen->devices |= UINT32_C(1) << d->slot;
	vio_loop_ask(d->loop, load_device, &l);
	return !l.failed || vio_refuse(why, "%s does not take the state: %s", d->name, l.failed);
}

/* ---- What is not a device ---- */

bool vmm_put_machine(struct vmm *m, struct vmm_out *o)
{
	struct vmm_record_machine head = { vio_le64_of(m->memory.bytes), vio_le32_of(m->o.cpus), vio_le32_of(m->o.wire),
		vio_le32_of(m->device_count), vio_le32_of(0) };
	return vmm_out_put(o, VMM_RECORD_MACHINE, 0, &head, sizeof head, NULL, 0);
}

static bool take_machine(struct vmm *m, const struct vmm_in *in, struct vmm_seen *seen, char *why)
{
	struct vmm_record_machine head;

	if (in->length == sizeof head)
		memcpy(&head, in->data, sizeof head);
	if (in->length != sizeof head || seen->machine || vio_le32_get(head.reserved))
		return vio_refuse(why, "the state does not say what machine it is of");
	seen->machine = true;
	if (vio_le64_get(head.memory) != m->memory.bytes)
		return vio_refuse(why, "the state is of a machine with %llu MiB of memory: give --memory=%lluM",
		    (unsigned long long)vio_le64_get(head.memory) >> 20, (unsigned long long)vio_le64_get(head.memory) >> 20);
	if (vio_le32_get(head.cpus) != m->o.cpus)
		return vio_refuse(why, "the state is of a machine with %u vCPUs: give --cpus=%u", vio_le32_get(head.cpus), vio_le32_get(head.cpus));
	if (vio_le32_get(head.wire) != m->o.wire)
		return vio_refuse(why, "the state is of a machine with virtio over %s: give --transport", m->o.wire == VMM_WIRE_PCI ? "MMIO" : "PCI");
	if (vio_le32_get(head.devices) != m->device_count)
		return vio_refuse(why, "the state is of a machine with %u devices, and this one has %u: give it the same",
		    vio_le32_get(head.devices), m->device_count);
	return true;
}

static bool put_arch(struct vmm *m, struct vmm_out *o, int vcpu)
{
	size_t n = vmm_arch_save(m, vcpu, NULL, 0);
	unsigned char *bytes = malloc(n);
	bool ok = false;

	if (bytes && n)
		ok = vmm_out_put(o, vcpu < 0 ? VMM_RECORD_PLATFORM : VMM_RECORD_VCPU, vcpu < 0 ? 0 : (uint32_t)vcpu, NULL, 0, bytes,
		    vmm_arch_save(m, vcpu, bytes, n));
	free(bytes);
	if (!ok && !o->failed) {
		o->failed = true;
		vio_refuse(o->why, "KVM does not tell the machine's state");
	}
	return ok;
}

bool vmm_put_rest(struct vmm *m, struct vmm_out *o)
{
	uint8_t serial[VMM_SERIAL_STATE] = { 0 };
	struct vmm_record_pci pci = { vio_le32_of(m->pci.address), vio_le32_of(m->pci.up), vio_le32_of(m->pci.down) };
	bool ok = true;

	for (struct vmm_device *d = m->devices; ok && d; d = d->next)
		ok = put_device(d, o);
	for (unsigned i = 0; ok && i < m->o.cpus; i++)
		ok = put_arch(m, o, (int)i);
	vmm_serial_save(m->serial, serial);
	return ok && put_arch(m, o, -1) && vmm_out_put(o, VMM_RECORD_SERIAL, 0, serial, sizeof serial, NULL, 0) &&
	    vmm_out_put(o, VMM_RECORD_PCI, 0, &pci, sizeof pci, NULL, 0) && vmm_out_put(o, VMM_RECORD_END, 0, NULL, 0, NULL, 0) &&
	    vmm_out_flush(o);
}

static bool take_arch(struct vmm *m, const struct vmm_in *in, struct vmm_seen *seen, char *why)
{
	bool platform = in->kind == VMM_RECORD_PLATFORM;

	if (platform ? seen->platform : in->instance >= m->o.cpus || seen->vcpus >> in->instance & 1)
		return vio_refuse(why, "the state has a vCPU twice, or one that this machine does not have");
	const char *failed = vmm_arch_load(m, platform ? -1 : (int)in->instance, in->data, in->length);
	if (failed)
		return vio_refuse(why, "%s", failed);
	if (platform)
		seen->platform = true;
	else
		seen->vcpus |= UINT64_C(1) << in->instance;
	return true;
}

static bool take_serial(struct vmm *m, const struct vmm_in *in, struct vmm_seen *seen, char *why)
{
	if (in->length != VMM_SERIAL_STATE || seen->serial)
		return vio_refuse(why, "the state has a serial port that can't be");
	seen->serial = true;
	vmm_serial_load(m->serial, in->data);
	return true;
}

static bool take_pci(struct vmm *m, const struct vmm_in *in, struct vmm_seen *seen, char *why)
{
	struct vmm_record_pci pci;

	if (in->length != sizeof pci || seen->pci)
		return vio_refuse(why, "the state has a PCI bus that can't be");
	memcpy(&pci, in->data, sizeof pci);
	seen->pci = true;
	m->pci.address = vio_le32_get(pci.address);
	m->pci.up = vio_le32_get(pci.up);
	m->pci.down = vio_le32_get(pci.down);
	return true;
}

static bool all_there(struct vmm *m, const struct vmm_seen *seen, char *why)
{
	uint64_t vcpus = m->o.cpus < 64 ? (UINT64_C(1) << m->o.cpus) - 1 : UINT64_MAX;
	uint32_t devices = 0;

	for (const struct vmm_device *d = m->devices; d; d = d->next)
		devices |= UINT32_C(1) << d->slot;
	return (seen->vcpus == vcpus && seen->devices == devices && seen->platform && seen->serial && seen->pci) ||
	    vio_refuse(why, "the state lacks something of the machine");
}

bool vmm_take(struct vmm *m, struct vmm_in *in, struct vmm_seen *seen, bool *end, char *why)
{
	*end = in->kind == VMM_RECORD_END;
	if (!seen->machine && in->kind != VMM_RECORD_MACHINE)
		return vio_refuse(why, "the state does not say what machine it is of");
	switch (in->kind) {
	case VMM_RECORD_MACHINE: return take_machine(m, in, seen, why);
	case VMM_RECORD_MEMORY: case VMM_RECORD_ZEROES: return take_memory(m, in, why);
	case VMM_RECORD_VCPU: case VMM_RECORD_PLATFORM: return take_arch(m, in, seen, why);
	case VMM_RECORD_SERIAL: return take_serial(m, in, seen, why);
	case VMM_RECORD_PCI: return take_pci(m, in, seen, why);
	case VMM_RECORD_DEVICE: return take_device(m, in, seen, why);
	case VMM_RECORD_END: return all_there(m, seen, why);
	default: return vio_refuse(why, "the state has a record that belongs elsewhere");
	}
}

/* ---- Snapshots ---- */

static bool write_frozen(struct vmm *m, struct vio_channel *to, char *why)
{
	struct vmm_out *o = malloc(sizeof *o);

	if (!o)
		return vio_refuse(why, "there is no memory for a snapshot");
	vmm_out_begin(o, to, vmm_stream_arch());
	bool ok = vmm_put_machine(m, o) && vmm_put_memory(m, o, NULL) && vmm_put_rest(m, o);
	if (!ok)
		vio_refuse(why, "%s", o->why);
	free(o);
	return ok;
}

bool vmm_snapshot(struct vmm *m, struct vio_channel *to, char *why)
{
	bool running = m->running;

	if (m->moving)
		return vio_refuse(why, "the machine is being migrated: wait until that has ended");
	if (!vmm_may_move(m, why))
		return false;
	vmm_pause(m);
	bool ok = vmm_freeze(m, why) && write_frozen(m, to, why);
	vmm_thaw(m);
	if (running)
		vmm_resume(m);
	return ok;
}

bool vmm_restore(struct vmm *m, struct vio_channel *from, char *why)
{
	struct vmm_in in;
	struct vmm_seen seen = { 0 };
	bool end = false, ok = vmm_in_begin(&in, from, vmm_stream_arch());

	if (!ok)
		vio_refuse(why, "%s", in.why);
	while (ok && !end) {
		ok = vmm_in_next(&in) || vio_refuse(why, "%s", in.why);
		ok = ok && vmm_take(m, &in, &seen, &end, why);
	}
	vmm_in_free(&in);
	if (!ok)
		return false;
	m->booted = true;
	vmm_thaw_all(m);
	return true;
}
