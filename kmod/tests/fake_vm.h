/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fake VM for the track's suite. It models what a track depends on: which guest pages are mapped,
 * and which have their accessed bit set. A test makes the guest access memory and injects events.
 */
#ifndef GC_FAKE_VM_H
#define GC_FAKE_VM_H

#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "vm.h"

/* The process has 32 MiB of memory, at address 0. */
#define GC_FAKE_PAGES (SZ_32M >> PAGE_SHIFT)

struct gc_fake_vm {
	struct gc_vm vm;
	/* The guest's page tables. */
	DECLARE_BITMAP(mapped, GC_FAKE_PAGES);
	DECLARE_BITMAP(accessed, GC_FAKE_PAGES);
	unsigned int order; /* the host maps all memory with pages of this order */

	/* Set by the test. */
	int attach_error;
	bool memory_is_gone;
	u64 fault_in_attach; /* address of a fault to inject at that point, or 0 */
	u64 fault_in_drain;
	u64 fault_in_detach;

	/* Calls by the track. */
	unsigned int attached; /* now */
	unsigned int attaches; /* ever */
	unsigned int drains;
	unsigned int memory_locked; /* now */
	unsigned int memory_locks; /* ever */
	unsigned int unlocked_walks; /* of page tables */
};

/* Maps all memory and sets all accessed bits; gc_fake_attach() attaches to this VM from now on. */
void gc_fake_init(struct gc_fake_vm *fake);

/* A gc_vm_attach_t. */
int gc_fake_attach(struct gc_vm **vm, int fd, const struct gc_vm_events *events, void *data);

/* A vCPU accesses an address, and faults if the page is not mapped. */
void gc_fake_access(struct gc_fake_vm *fake, u64 address);
void gc_fake_access_pages(struct gc_fake_vm *fake, u64 address, u64 count);

#endif /* GC_FAKE_VM_H */
