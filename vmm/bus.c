/* Who answers at an address. */
#include <vmm/impl.h>

void vmm_bus_add(struct vmm_bus *b, struct vmm_range *r)
{
	struct vmm_range **at = &b->first;

	pthread_rwlock_wrlock(&b->lock);
	while (*at)
		at = &(*at)->next;
	r->next = NULL;
	r->on = true;
	*at = r;
	pthread_rwlock_unlock(&b->lock);
}

void vmm_bus_remove(struct vmm_bus *b, struct vmm_range *r)
{
	struct vmm_range **at = &b->first;

	pthread_rwlock_wrlock(&b->lock);
	while (*at && *at != r)
		at = &(*at)->next;
	if (*at)
		*at = r->next;
	r->on = false;
	pthread_rwlock_unlock(&b->lock);
}

/* A copy, because the access itself may move ranges. */
static bool find(struct vmm_bus *b, uint64_t address, unsigned width, struct vmm_range *found)
{
	const struct vmm_range *r;

	pthread_rwlock_rdlock(&b->lock);
	for (r = b->first; r; r = r->next)
		if (address >= r->base && address - r->base < r->bytes && width <= r->bytes - (address - r->base))
			break;
	if (r)
		*found = *r;
	pthread_rwlock_unlock(&b->lock);
	return r != NULL;
}

uint64_t vmm_bus_read(struct vmm_bus *b, uint64_t address, unsigned width)
{
	struct vmm_range r;
	return find(b, address, width, &r) ? r.ops->read(r.arg, address - r.base, width) : UINT64_MAX;
}

void vmm_bus_write(struct vmm_bus *b, uint64_t address, unsigned width, uint64_t value)
{
	struct vmm_range r;
	if (find(b, address, width, &r))
		r.ops->write(r.arg, address - r.base, width, value);
}
