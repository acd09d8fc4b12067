/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the pages of a memory node come from: a range of a shmem file, mapped privately. The node
 * knows its backing by these calls only, so that another kind can stand beside this one.
 */
#ifndef GC_BACKING_H
#define GC_BACKING_H

#include <linux/mm.h>

struct gc_backing {
	struct file *file;
	pgoff_t first; /* page of the file that is page 0 of the session */
	u64 pages;
	const struct vm_operations_struct *ops; /* of the file; set by the first mapping */
};

/* Takes a reference to the file. The errors are those of GC_IOC_SESSION_CREATE. */
int gc_backing_init(struct gc_backing *backing, int fd, u64 offset, u64 length);
void gc_backing_destroy(struct gc_backing *backing);

/* Makes a VMA of the node one of the file; the caller then sets vm_ops and vm_private_data. */
int gc_backing_map(struct gc_backing *backing, struct vm_area_struct *vma);

/* Page of the session that a fault is about. */
static inline u64 gc_backing_index(const struct gc_backing *backing, const struct vm_fault *vmf)
{
	return vmf->pgoff - backing->first;
}

/* Serves a fault, that one page and no more. */
vm_fault_t gc_backing_fault(struct gc_backing *backing, struct vm_fault *vmf);

/* Unmaps pages from whoever maps the file, but not what was written privately. */
void gc_backing_unmap(struct gc_backing *backing, u64 first, u64 count);

#endif /* GC_BACKING_H */
