/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the pages of a memory node come from: always a shmem file. It is either the one that user
 * space gave, mapped privately; or one of our own, to which the first access to each page copies it
 * from a process (process.c): swappable, and charged to who accesses it, like any memory.
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
	pgoff_t first; /* page of the file that is page 0 of the session */
	u64 pages;
	const struct vm_operations_struct *ops; /* of the file; set by the first mapping */

	/* Where pages are copied from; without mm, they are not. */
	struct gc_process process;
	struct rw_semaphore forget; /* write: copies go; inside mmap_lock, outside page locks */
	spinlock_t lock; /* protects copied */
	struct gc_pageset copied;
};

/* The errors are those of GC_IOC_SESSION_CREATE. */
int gc_backing_init(struct gc_backing *backing, const struct gc_session_create *arg);
void gc_backing_destroy(struct gc_backing *backing);

static inline bool gc_backing_copies(const struct gc_backing *backing)
{
	return backing->process.mm;
}

/* Makes a VMA of the node one of the file; the caller then sets vm_ops and vm_private_data. */
int gc_backing_map(struct gc_backing *backing, struct vm_area_struct *vma);

/* Page of the session that a fault is about. */
static inline u64 gc_backing_index(const struct gc_backing *backing, const struct vm_fault *vmf)
{
	return vmf->pgoff - backing->first;
}

/* Whether a fault on the page must first be preceded by gc_backing_copy(). */
static inline bool gc_backing_needs_copy(const struct gc_backing *backing, u64 page)
{
	return gc_backing_copies(backing) && !gc_pageset_test(&backing->copied, page);
}

/* Sleeps. Whether an mmap lock is held, and the errors, are as in gc_process_get_page(). */
int gc_backing_copy(struct gc_backing *backing, u64 page, bool locked);

/* Serves a fault, that one page and no more. */
vm_fault_t gc_backing_fault(struct gc_backing *backing, struct vm_fault *vmf);

/* Takes back what gc_backing_fault() returned: the access is to come again. */
vm_fault_t gc_backing_refuse(struct vm_fault *vmf, vm_fault_t ret);

/*
 * Waits for all faults on the pages that gc_backing_fault() has served: that they are through, or
 * that whoever serves them sees what was done before this call once the page is locked.
 */
void gc_backing_settle(struct gc_backing *backing, u64 first, u64 count);

/*
 * Unmaps pages from whoever maps the file, but not what was written privately; and forgets copies.
 * The next access is a fault.
 */
void gc_backing_unmap(struct gc_backing *backing, u64 first, u64 count);

/* How many pages there are copies of. */
u64 gc_backing_copied(struct gc_backing *backing);

#endif /* GC_BACKING_H */
