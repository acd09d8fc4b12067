/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pages behind a memory node, always those of a shmem file: either user space's file, mapped
 * privately, or a file of the session's own. The first access to a page of the latter copies the
 * page from a process (process.c). Copies are swappable and charged to the accessing process.
 */
#ifndef GC_BACKING_H
#define GC_BACKING_H

#include <linux/mm.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>

#include "pageset.h"
#include "process.h"

struct gc_session_create;

struct gc_backing {
	struct file *file;
	pgoff_t first; /* index in the file of the session's page 0 */
	u64 pages;
	const struct vm_operations_struct *ops; /* the file's; set by the first mapping */

	/* The process that pages are copied from; mm is NULL over a file of user space's. */
	struct gc_process process;
	/* Held for writing to discard copies. Nests inside mmap_lock and outside page locks. */
	struct rw_semaphore copies_sem;
	spinlock_t lock; /* protects copied */
	struct gc_pageset copied;
};

/* Checks the range and what it is of, before gc_backing_init(). Errors: EINVAL, EFBIG. */
int gc_backing_check(const struct gc_session_create *arg);

/* Returns the memory that a backing keeps, but for copied pages. */
u64 gc_backing_bytes(const struct gc_session_create *arg);

/* Errors: those of GC_IOC_SESSION_CREATE. */
int gc_backing_init(struct gc_backing *backing, const struct gc_session_create *arg);
void gc_backing_destroy(struct gc_backing *backing);

/* Returns whether pages are copied from a process. */
static inline bool gc_backing_is_process(const struct gc_backing *backing)
{
	return backing->process.mm;
}

/* Turns a VMA of the node into one of the file. The caller then sets vm_ops and vm_private_data. */
int gc_backing_map(struct gc_backing *backing, struct vm_area_struct *vma);

/* Returns the session's index of the faulting page. */
static inline u64 gc_backing_index(const struct gc_backing *backing, const struct vm_fault *vmf)
{
	return vmf->pgoff - backing->first;
}

/* Returns whether gc_backing_copy() must copy the page before gc_backing_fault() can serve it. */
static inline bool gc_backing_needs_copy(const struct gc_backing *backing, u64 page)
{
	return gc_backing_is_process(backing) && !gc_pageset_test(&backing->copied, page);
}

/* Copies a page. Sleeps. locked and the errors are those of gc_process_get_page(). */
int gc_backing_copy(struct gc_backing *backing, u64 page, bool locked);

/* Serves a fault. After VM_FAULT_LOCKED, one of the next two must follow. */
vm_fault_t gc_backing_fault(struct gc_backing *backing, struct vm_fault *vmf);

/* Maps the faulting page alone, for which gc_backing_fault() returned ret. */
vm_fault_t gc_backing_map_page(struct vm_fault *vmf, vm_fault_t ret);

/* Undoes gc_backing_fault(), which returned ret; the access faults again. */
vm_fault_t gc_backing_undo_fault(struct vm_fault *vmf, vm_fault_t ret);

/*
 * Waits for faults in flight. Each fault on the pages that gc_backing_fault() serves either has
 * mapped its page when this returns, or sees all stores before this call once it holds the page
 * lock.
 */
void gc_backing_drain_faults(struct gc_backing *backing, u64 first, u64 count);

/*
 * Unmaps the pages from every mapping of the file, except pages that were written through a private
 * mapping, and discards copies. The next access faults.
 */
void gc_backing_unmap(struct gc_backing *backing, u64 first, u64 count);

/* Returns the number of pages copied now. */
u64 gc_backing_copied(struct gc_backing *backing);

#endif /* GC_BACKING_H */
