/*
 * Interrupts: lines of the interrupt controller in the kernel, and messages (MSI), each with a route of its own.
 *
 * KVM takes all routes at once, so a message's is only set when it has changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vmm/arch.h>
#include <vmm/kvm.h>

bool vmm_irq_open(struct vmm *m, char *why)
{
	struct vmm_irqs *q = &m->irqs;

	pthread_mutex_init(&q->lock, NULL);
	q->table = calloc(1, sizeof *q->table + VMM_ROUTES * sizeof *q->table->entries);
	if (!q->table)
		return vio_refuse(why, "there is no memory for the machine");
	for (unsigned i = 0; i < vmm_arch_map(m)->lines; i++)
		q->table->entries[q->table->nr++] = (struct kvm_irq_routing_entry){ .gsi = i, .type = KVM_IRQ_ROUTING_IRQCHIP,
			.u.irqchip = { .irqchip = vmm_arch_map(m)->irqchip, .pin = i } };
	return vmm_try(m->vm, KVM_SET_GSI_ROUTING, q->table, "route interrupts", why);
}

void vmm_irq_close(struct vmm *m) { free(m->irqs.table); }

void vmm_msi_init(struct vmm *m, struct vmm_msi *i) { *i = (struct vmm_msi){ .m = m, .fd = -1 }; }

/* ---- Under the lock ---- */

static bool take_gsi(struct vmm_irqs *q, uint32_t *gsi)
{
	for (uint32_t i = VMM_LINES; i < VMM_ROUTES; i++)
		if (!(q->used[i / 8] >> i % 8 & 1)) {
			q->used[i / 8] |= (uint8_t)(1 << i % 8);
			*gsi = i;
			return true;
		}
	return false;
}

static struct kvm_irq_routing_entry *entry_of(struct vmm_irqs *q, uint32_t gsi)
{
	for (uint32_t i = 0; i < q->table->nr; i++)
		if (q->table->entries[i].gsi == gsi)
			return &q->table->entries[i];
	return NULL;
}

static void route(struct vmm_msi *i)
{
	struct vmm_irqs *q = &i->m->irqs;
	struct kvm_irq_routing_entry *e = entry_of(q, i->gsi);

	if (!e)
		e = &q->table->entries[q->table->nr++];		/* no more than GSIs, for which there is room */
	*e = (struct kvm_irq_routing_entry){ .gsi = i->gsi, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = (uint32_t)i->address, .address_hi = (uint32_t)(i->address >> 32), .data = i->data } };
	if (vmm_arch_map(i->m)->requesters) {
		e->flags = KVM_MSI_VALID_DEVID;
		e->u.msi.devid = i->requester;
	}
	vmm_ioctl(i->m->vm, KVM_SET_GSI_ROUTING, q->table);
}

static void wire(const struct vmm_msi *i, int fd, bool on)
{
	struct kvm_irqfd f = { .fd = (uint32_t)fd, .gsi = i->gsi, .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };
	vmm_ioctl(i->m->vm, KVM_IRQFD, &f);
}

/* ---- Messages ---- */

/* There is one for each vector of as many devices as fit, but descriptors may run out. */
static void open_message(struct vmm_msi *i)
{
	struct vmm_irqs *q = &i->m->irqs;

	if (!take_gsi(q, &i->gsi))
		return;
	i->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (i->fd >= 0)
		return;
	q->used[i->gsi / 8] &= (uint8_t)~(1 << i->gsi % 8);
	if (!q->told)
		fprintf(stderr, "vio: an interrupt of a device is lost: %s; raise the limit of open files (ulimit -n)\n", strerror(errno));
	q->told = true;
}

void vmm_msi_set(struct vmm_msi *i, uint64_t address, uint32_t data)
{
	struct vmm_irqs *q = &i->m->irqs;
	bool known = i->fd >= 0;

	if (known && i->address == address && i->data == data)
		return;
	pthread_mutex_lock(&q->lock);
	i->address = address;
	i->data = data;
	if (!known)
		open_message(i);
	if (i->fd >= 0)
		route(i);
	if (!known && i->fd >= 0)
		wire(i, i->fd, true);
	pthread_mutex_unlock(&q->lock);
}

void vmm_msi_also(struct vmm_msi *i, int fd, bool on)
{
	if (i->fd < 0)
		return;			/* it has no route yet */
	pthread_mutex_lock(&i->m->irqs.lock);
	wire(i, fd, on);
	pthread_mutex_unlock(&i->m->irqs.lock);
}

void vmm_msi_send(struct vmm_msi *i)
{
	uint64_t one = 1;
	if (i->fd >= 0 && write(i->fd, &one, sizeof one) < 0)
		return;		/* it is signalled already */
}

void vmm_msi_free(struct vmm_msi *i)
{
	struct vmm_irqs *q = &i->m->irqs;
	struct kvm_irq_routing_entry *e;

	if (i->fd < 0)
		return;
	pthread_mutex_lock(&q->lock);
	wire(i, i->fd, false);
	if ((e = entry_of(q, i->gsi)))
		*e = q->table->entries[--q->table->nr];
	q->used[i->gsi / 8] &= (uint8_t)~(1 << i->gsi % 8);
	pthread_mutex_unlock(&q->lock);
	close(i->fd);
	i->fd = -1;
}

/* ---- Lines ---- */

static void set_line(struct vmm *m, unsigned line, unsigned source, bool level)
{
	struct vmm_irqs *q = &m->irqs;
	uint32_t before = q->asserted[line], bit = UINT32_C(1) << source;

	q->asserted[line] = level ? before | bit : before & ~bit;
	if (!before != !q->asserted[line]) {
		struct kvm_irq_level l = { .irq = vmm_arch_line(line), .level = level };
		vmm_ioctl(m->vm, KVM_IRQ_LINE, &l);
	}
}

void vmm_line(struct vmm *m, unsigned line, unsigned source, bool level)
{
	pthread_mutex_lock(&m->irqs.lock);
	set_line(m, line, source, level);
	pthread_mutex_unlock(&m->irqs.lock);
}

void vmm_line_as(struct vmm *m, unsigned line, unsigned source, bool (*level)(void *arg), void *arg)
{
	pthread_mutex_lock(&m->irqs.lock);
	set_line(m, line, source, level(arg));
	pthread_mutex_unlock(&m->irqs.lock);
}
