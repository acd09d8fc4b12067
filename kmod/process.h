/* SPDX-License-Identifier: GPL-2.0-only */
/* A range of another process's memory, of any kind, to be read page by page. */
#ifndef GC_PROCESS_H
#define GC_PROCESS_H

#include <linux/mm_types.h>
#include <linux/types.h>

struct gc_process {
	struct mm_struct *mm; /* its memory may go; the struct does not */
	unsigned long address; /* of page 0 */
};

/* Errors: those of GC_IOC_SESSION_CREATE that are about the process. */
int gc_process_init(struct gc_process *process, pid_t pid, u64 address, u64 length);
void gc_process_destroy(struct gc_process *process);

/*
 * Gets a page's content: *page, with a reference, or NULL for zeros, where the process has never
 * touched its memory; it is not touched now either. The caller holds no mmap lock; or, with locked,
 * it holds one, and this one is only tried for.
 * Errors: EFAULT not to be read, ESRCH the memory is gone, ENOMEM, EHWPOISON, EINTR
 * killed, EAGAIN the lock could not be had.
 */
int gc_process_get_page(struct gc_process *process, u64 index, bool locked, struct page **page);

#endif /* GC_PROCESS_H */
