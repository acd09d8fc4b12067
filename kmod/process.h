/* SPDX-License-Identifier: GPL-2.0-only */
/* Reads a range of another process's memory, of any kind, page by page. */
#ifndef GC_PROCESS_H
#define GC_PROCESS_H

#include <linux/mm_types.h>
#include <linux/types.h>

struct gc_process {
	struct mm_struct *mm; /* pins the struct, not the memory */
	unsigned long address; /* of page 0 */
};

/* Errors: those of GC_IOC_SESSION_CREATE about the process. */
int gc_process_init(struct gc_process *process, pid_t pid, u64 address, u64 length);
void gc_process_destroy(struct gc_process *process);

/*
 * Gets a page with a reference. Sets *page to NULL, which stands for zeros, if the process has
 * never touched the page; this does not allocate it. The caller holds no mmap lock; or it holds one
 * and sets locked, and then the process's lock is only tried, for a bounded time.
 *
 * Errors: EFAULT the page is not readable, ESRCH the process's memory is gone, EINTR killed, EAGAIN
 * the lock was not available, ENOMEM, EHWPOISON.
 */
int gc_process_get_page(struct gc_process *process, u64 index, bool locked, struct page **page);

#endif /* GC_PROCESS_H */
