// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitmap.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/preempt.h>

#include "fake_vm.h"

static struct gc_fake_vm *gc_to_fake(struct gc_vm *vm)
{
	return container_of(vm, struct gc_fake_vm, vm);
}

static void gc_fake_fault(struct gc_fake_vm *fake, u64 address)
{
	if (!fake->vm.events->fault)
		return;
	preempt_disable();
	fake->vm.events->fault(fake->vm.data, address, GC_KIND_READ, 0);
	preempt_enable();
}

static unsigned long gc_fake_block(const struct gc_fake_vm *fake, u64 address)
{
	return round_down(address >> PAGE_SHIFT, 1UL << fake->order);
}

void gc_fake_access(struct gc_fake_vm *fake, u64 address)
{
	unsigned long block = gc_fake_block(fake, address);

	if (!test_bit(address >> PAGE_SHIFT, fake->mapped)) {
		gc_fake_fault(fake, address);
		bitmap_set(fake->mapped, block, 1UL << fake->order);
	}
	bitmap_set(fake->accessed, block, 1UL << fake->order);
}

void gc_fake_access_pages(struct gc_fake_vm *fake, u64 address, u64 count)
{
	for (; count; address += PAGE_SIZE, count--)
		gc_fake_access(fake, address);
}

/* Delivers `gone`, as mmu_notifier_unregister() does for KVM. */
static void gc_fake_detach(struct gc_vm *vm)
{
	struct gc_fake_vm *fake = gc_to_fake(vm);

	if (fake->fault_in_detach)
		gc_fake_fault(fake, fake->fault_in_detach);
	vm->events->gone(vm->data);
	fake->attached--;
}

static void gc_fake_drain_faults(struct gc_vm *vm)
{
	struct gc_fake_vm *fake = gc_to_fake(vm);

	fake->drains++;
	if (fake->fault_in_drain)
		gc_fake_access(fake, fake->fault_in_drain);
}

static void gc_fake_zap(struct gc_vm *vm, u64 address, u64 length)
{
	bitmap_clear(gc_to_fake(vm)->mapped, address >> PAGE_SHIFT, length >> PAGE_SHIFT);
}

static int gc_fake_lock_memory(struct gc_vm *vm)
{
	struct gc_fake_vm *fake = gc_to_fake(vm);

	if (fake->memory_is_gone)
		return -ESRCH;
	fake->memory_locked++;
	fake->memory_locks++;
	return 0;
}

static void gc_fake_unlock_memory(struct gc_vm *vm)
{
	gc_to_fake(vm)->memory_locked--;
}

/* The accessed bit belongs to the page table entry: the pages of a huge page share one. */
static bool gc_fake_age(struct gc_vm *vm, u64 address, u64 length)
{
	struct gc_fake_vm *fake = gc_to_fake(vm);
	unsigned long block = gc_fake_block(fake, address);
	unsigned long count = max(1UL << fake->order, (unsigned long)(length >> PAGE_SHIFT));
	bool accessed = find_next_bit(fake->accessed, block + count, block) < block + count;

	bitmap_clear(fake->accessed, block, count);
	return accessed;
}

static unsigned int gc_fake_host_order(struct gc_vm *vm, u64 address)
{
	struct gc_fake_vm *fake = gc_to_fake(vm);

	fake->unlocked_walks += !fake->memory_locked;
	return fake->order;
}

static unsigned int gc_fake_fault_order(struct gc_vm *vm, u64 address)
{
	return gc_to_fake(vm)->order;
}

static const struct gc_vm_ops gc_fake_ops = {
	.detach = gc_fake_detach,
	.drain_faults = gc_fake_drain_faults,
	.zap = gc_fake_zap,
	.lock_memory = gc_fake_lock_memory,
	.unlock_memory = gc_fake_unlock_memory,
	.age = gc_fake_age,
	.host_order = gc_fake_host_order,
	.fault_order = gc_fake_fault_order,
};

/* The VM that gc_fake_attach() attaches to. KUnit runs one test at a time. */
static struct gc_fake_vm *gc_fake;

void gc_fake_init(struct gc_fake_vm *fake)
{
	bitmap_fill(fake->mapped, GC_FAKE_PAGES);
	bitmap_fill(fake->accessed, GC_FAKE_PAGES);
	gc_fake = fake;
}

int gc_fake_attach(struct gc_vm **vm, int fd, const struct gc_vm_events *events, void *data)
{
	if (gc_fake->attach_error)
		return gc_fake->attach_error;
	gc_fake->vm = (struct gc_vm){ .ops = &gc_fake_ops, .events = events, .data = data };
	gc_fake->attached++;
	gc_fake->attaches++;
	*vm = &gc_fake->vm;
	if (gc_fake->fault_in_attach)
		gc_fake_access(gc_fake, gc_fake->fault_in_attach);
	return 0;
}
